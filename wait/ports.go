package wait

import (
	"fmt"
	"slices"
)

// Narrow reduces a view to the Services that the policy asks about. If one of them has never named
// the pod, its name is wrong: a typo must not pass for a pod that is out of rotation, so it is then
// as if the slices could not be read.
func (p Policy) Narrow(v View) View {
	if !v.SlicesKnown {
		return v
	}
	unknown := slices.DeleteFunc(slices.Clone(p.Services), func(name string) bool { return slices.Contains(v.Named, name) })
	if len(unknown) > 0 {
		v.SlicesKnown, v.Refused, v.SlicesRefused = false, true, true
		v.Err = fmt.Errorf("no EndpointSlice of %s names this pod: check --service", plural("Service", unknown))
	}
	return v
}

// Watched returns the ports to watch: those that the policy asks for, else those that the slices
// name. A pod that no slice names has the ports that its containers declare, and so has one with
// the node's network, whose other listeners are not its own. Empty: every listening port, as long
// as a name that was asked for is not known.
func (p Policy) Watched(v View) []uint16 {
	if len(p.Ports) == 0 {
		return v.named()
	}
	var numbers []uint16
	for _, asked := range p.Ports {
		if asked.Number != 0 {
			numbers = append(numbers, asked.Number)
			continue
		}
		before := len(numbers)
		for _, known := range v.Ports {
			if v.SlicesKnown && known.Name == asked.Name {
				numbers = append(numbers, known.Number)
			}
		}
		if len(numbers) == before {
			return nil
		}
	}
	return numbers
}

// watchesNothing reports whether no port of the pod's is known, and its listening sockets are not
// to be told from the node's.
func (p Policy) watchesNothing(v View) bool {
	return len(p.Ports) == 0 && v.HostNetwork && v.PodKnown && v.SlicesKnown && len(v.named()) == 0
}

// named are the ports that the control plane knows of.
func (v View) named() (numbers []uint16) {
	if v.SlicesKnown {
		for _, known := range v.Ports {
			numbers = append(numbers, known.Number)
		}
	}
	if len(numbers) == 0 && (v.SlicesKnown && len(v.Named) == 0 || v.HostNetwork) {
		return slices.Clone(v.Declared)
	}
	return numbers
}
