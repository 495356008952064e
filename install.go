package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

type installCmd struct {
	Dir string `arg:"" help:"The directory to copy into, such as an emptyDir that the app's container mounts, too."`
}

// Run copies the binary under a name of its own first, so that nobody ever sees half of it.
func (c *installCmd) Run() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot install into %s: %w", c.Dir, err)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	from, err := os.Open(self)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.CreateTemp(c.Dir, ".lull-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	err = errors.Join(err, to.Chmod(0o755), to.Close())
	if err == nil {
		err = os.Rename(to.Name(), filepath.Join(c.Dir, "lull"))
	}
	if err != nil {
		os.Remove(to.Name())
	}
	return err
}
