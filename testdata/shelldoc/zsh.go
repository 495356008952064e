package shelldoc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Zsh writes completions for a directory of zsh's fpath.
func (p Program) Zsh() string {
	all := p.commands()
	var b strings.Builder
	fmt.Fprintf(&b, "#compdef %[1]s\n# Completions of %[1]s for zsh. Generated from its flags.\n_%[1]s() {\n\tlocal -a known=(\n", p.Name)
	for _, c := range all {
		fmt.Fprintf(&b, "\t\t'%s:%s'\n", c.name, quote(brief(c.help), ":"))
	}
	fmt.Fprintf(&b, "\t)\n\tlocal command=%s\n", all[0].name)
	b.WriteString("\tif ((CURRENT > 2)) && ((${known[(I)$words[2]:*]})); then\n\t\tcommand=$words[2]\n\t\tshift words\n\t\t((CURRENT--))\n")
	b.WriteString("\telif ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n\t\t_describe command known\n\t\treturn\n\tfi\n")
	fmt.Fprintf(&b, "\tlocal -i at=${words[(i)--]}\n\tif ((at < CURRENT)) && [[ $command = (%s) ]]; then\n\t\tshift at words\n\t\t((CURRENT -= at))\n\t\t_normal\n\t\treturn\n\tfi\n", strings.Join(p.Wraps, "|"))
	b.WriteString("\tcase $command in\n")
	for _, c := range all {
		fmt.Fprintf(&b, "\t%s)\n\t\t_arguments -S", c.name)
		for _, f := range c.flags {
			fmt.Fprintf(&b, " \\\n\t\t\t'%s'", zshFlag(f))
		}
		if slices.ContainsFunc(c.args, isDir) {
			b.WriteString(" \\\n\t\t\t'1:directory:_files -/'")
		}
		b.WriteString("\n\t\t;;\n")
	}
	fmt.Fprintf(&b, "\tesac\n}\n_%[1]s \"$@\"\n", p.Name)
	return b.String()
}

// zshFlag is a flag as _arguments wants it.
func zshFlag(f *kong.Flag) string {
	many := ""
	if f.IsSlice() {
		many = "*"
	}
	help := quote(brief(f.Help), "[]")
	switch {
	case f.IsBool():
		return fmt.Sprintf("%s--%s[%s]", many, f.Name, help)
	case choices(f) != nil:
		return fmt.Sprintf("%s--%s=[%s]:%s:(%s)", many, f.Name, help, f.Name, strings.Join(choices(f), " "))
	case isFile(f):
		return fmt.Sprintf("%s--%s=[%s]:%s:_files", many, f.Name, help, f.Name)
	}
	return fmt.Sprintf("%s--%s=[%s]:%s: ", many, f.Name, help, f.Name)
}

// quote puts a text into single quotes' inside, with a backslash before each of special.
func quote(text, special string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\'':
			b.WriteString(`'\''`)
			continue
		case strings.ContainsRune(special, r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
