//go:build !linux

package procnet

// Open returns ErrUnsupported.
func Open(which string, opts ...Option) (Source, string, error) {
	return nil, "", ErrUnsupported
}
