package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// modules are what the kernel may need for sock_diag, each after those that it depends on.
var modules = []string{"inet_diag", "tcp_diag"}

// writeInitramfs packs the programs, procnet's testdata and the kernel's modules.
func writeInitramfs(file, bin, kernel string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio{bufio.NewWriter(f), 0}
	for _, dir := range []string{"dev", "proc", "sys", "tmp", "sbin", "modules", "procnet", "root"} {
		if err := w.add(dir, fs.ModeDir|0o755, nil); err != nil {
			return err
		}
	}
	files := map[string]string{}
	for _, name := range []string{"lull", "procnet.test", "lull.test"} {
		files[name] = filepath.Join(bin, name)
	}
	files["init"] = filepath.Join(bin, "kernels")
	for _, name := range modules {
		found, _ := filepath.Glob(filepath.Join(kernel, "lib/modules/*/kernel/net/ipv4", name+".ko"))
		if len(found) == 1 {
			files["modules/"+name+".ko"] = found[0]
		}
	}
	for name, from := range files {
		if err := w.copy(name, from); err != nil {
			return err
		}
	}
	if err := w.add("sbin/modprobe", fs.ModeSymlink|0o777, []byte("/init")); err != nil {
		return err
	}
	if err := w.tree("procnet/testdata", "procnet/testdata"); err != nil {
		return err
	}
	return w.end()
}

// cpio writes the "newc" format: Documentation/driver-api/early-userspace/buffer-format.rst.
type cpio struct {
	*bufio.Writer
	inode int
}

func (w *cpio) add(name string, mode fs.FileMode, data []byte) error {
	kind := map[fs.FileMode]int{0: 0o100000, fs.ModeDir: 0o040000, fs.ModeSymlink: 0o120000}[mode.Type()]
	w.inode++
	fmt.Fprintf(w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		w.inode, kind|int(mode.Perm()), 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	const header = 110
	if _, err := w.WriteString(name + "\x00" + padding(header+len(name)+1)); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	_, err := w.WriteString(padding(len(data)))
	return err
}

func padding(n int) string { return strings.Repeat("\x00", (4-n%4)%4) }

func (w *cpio) copy(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return w.add(name, 0o755, data)
}

func (w *cpio) tree(name, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := name + strings.TrimPrefix(path, from)
		if d.IsDir() {
			return w.add(to, fs.ModeDir|0o755, nil)
		}
		return w.copy(to, path)
	})
}

func (w *cpio) end() error {
	if err := w.add("TRAILER!!!", 0, nil); err != nil {
		return err
	}
	return w.Flush()
}
