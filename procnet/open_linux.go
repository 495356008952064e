package procnet

import "fmt"

// Open opens the source that which names: "netlink", "proc", or "auto" for the first of the
// two that is allowed here. The string says why that was not netlink; it is empty if it
// was, or if nobody asked. The error names every source that was tried. errors.Is(err,
// ErrUnsupported) reports whether this is not Linux.
//
// seccomp profiles refuse with whatever errno their author chose. So any error of opening
// the netlink source means that it is not available here.
func Open(which string) (source Source, whyNot string, err error) {
	return openSource(which, defaults())
}

func openSource(which string, o options) (source Source, whyNot string, err error) {
	switch which {
	case "netlink":
		s, err := openNetlink(o)
		if err != nil {
			return nil, "", err
		}
		return s, "", nil
	case "proc":
		s, err := openProc(o)
		if err != nil {
			return nil, "", err
		}
		return s, "", nil
	case "auto":
	default:
		return nil, "", fmt.Errorf("source %q: want auto, netlink or proc", which)
	}
	n, netlinkErr := openNetlink(o)
	if netlinkErr == nil {
		return n, "", nil
	}
	p, procErr := openProc(o)
	if procErr != nil {
		return nil, "", fmt.Errorf("%w; %w", netlinkErr, procErr)
	}
	return p, netlinkErr.Error(), nil
}
