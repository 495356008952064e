package procnet

import "fmt"

// Open opens the source that which names: "netlink", "proc", or "auto" for the
// first of the two that is allowed here. The string says why that was not
// netlink; it is empty if it was, or if nobody asked. The error names every
// source that was tried; errors.Is(err, ErrUnsupported) tells that this is not
// Linux.
//
// seccomp profiles refuse with whatever errno their author chose, so any error
// of opening the netlink source means that it can't be had here.
func Open(which string, opts ...Option) (source Source, whyNot string, err error) {
	o := optionsOf(opts)
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
