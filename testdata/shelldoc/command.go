// Package shelldoc writes what a shell wants beside a command line that kong parses: a man page,
// and completions for bash, zsh and fish. It is for tests, which keep these files as the flags are;
// kong's own add-ons for them sit in the binary, or leave out defaults, choices and environment.
package shelldoc

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A Program is a command line as kong parses it, and what kong does not know of it.
type Program struct {
	*kong.Application
	Wraps []string // the commands after whose flags -- and another program's command line may stand
}

// A command is what may stand first on the command line, and what may follow it.
type command struct {
	name, help string
	flags      []*kong.Flag
	args       []*kong.Positional
	wraps      bool
}

// commands lists the program's commands. The first is the default one, which need not be named.
func (p Program) commands() []command {
	var all []command
	for _, node := range p.Children {
		c := command{name: node.Name, help: node.Help, args: node.Positional, wraps: slices.Contains(p.Wraps, node.Name)}
		for _, flags := range node.AllFlags(true) {
			c.flags = append(c.flags, flags...)
		}
		if node == p.DefaultCmd {
			all = append([]command{c}, all...)
		} else {
			all = append(all, c)
		}
	}
	return all
}

// choices lists the values that a flag is limited to, if it is.
func choices(f *kong.Flag) []string {
	if f.Enum == "" {
		return nil
	}
	return f.EnumSlice()
}

// isFile reports whether a flag's value names a file.
func isFile(f *kong.Flag) bool { return f.PlaceHolder == "FILE" }

// isDir reports whether an argument names a directory.
func isDir(p *kong.Positional) bool { return p.Name == "dir" }

// brief is the first sentence of a help text, for where there is room for a line only.
func brief(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, "; ")
	return strings.TrimSuffix(first, ".")
}
