//go:build !linux

package procnet

// Open returns ErrUnsupported.
func Open(which string) (Source, string, error) {
	return nil, "", ErrUnsupported
}
