package shelldoc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A Section is one that the flags don't know, such as EXAMPLES. Lines that begin with four spaces
// are shown as they are; an empty line begins a paragraph.
type Section struct{ Title, Text string }

// Man writes a page for section 1 of the manual, in the macros of man(7). What it is for is a line;
// the sections come after the options.
func (p Program) Man(what string, sections ...Section) string {
	all := p.commands()
	var b strings.Builder
	fmt.Fprintf(&b, ".\\\" Generated from the flags.\n.TH %s 1 \"\" %s \"User Commands\"\n", strings.ToUpper(p.Name), p.Name)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n", p.Name, roff(what))
	for i, c := range all {
		name := `\fB` + c.name + `\fR`
		if i == 0 {
			name = "[" + name + "]"
		}
		fmt.Fprintf(&b, "\\fB%s\\fR %s [\\fIflags\\fR]", p.Name, name)
		for _, a := range c.args {
			fmt.Fprintf(&b, " %s", roff(a.Summary()))
		}
		if c.wraps {
			b.WriteString(` [\fB\-\-\fR \fIcommand\fR...]`)
		}
		b.WriteString("\n.br\n")
	}
	fmt.Fprintf(&b, "\\fB%s\\fR \\fB\\-\\-version\\fR\n.SH DESCRIPTION\n%s\n", p.Name, roff(p.Help))
	if p.Detail != "" {
		fmt.Fprintf(&b, ".PP\n%s\n", roff(p.Detail))
	}
	for i, c := range all {
		fmt.Fprintf(&b, ".SS %s %s\n%s\n", p.Name, c.name, roff(c.help))
		for _, a := range c.args {
			fmt.Fprintf(&b, ".TP\n\\fI%s\\fR\n%s\n", roff(a.Name), roff(a.Help))
		}
		var shared []string
		for _, f := range c.flags {
			if i > 0 && slices.ContainsFunc(all[0].flags, func(g *kong.Flag) bool { return same(f, g) }) {
				shared = append(shared, `\fB\-\-`+roff(f.Name)+`\fR`)
				continue
			}
			b.WriteString(manFlag(f))
		}
		if shared != nil {
			fmt.Fprintf(&b, ".PP\nAs with \\fB%s %s\\fR: %s.\n", p.Name, all[0].name, strings.Join(shared, ", "))
		}
	}
	for _, s := range sections {
		fmt.Fprintf(&b, ".SH %s\n%s", s.Title, paragraphs(s.Text))
	}
	return b.String()
}

func same(f, g *kong.Flag) bool {
	return f.Name == g.Name && f.Help == g.Help && f.Default == g.Default && f.Enum == g.Enum
}

func manFlag(f *kong.Flag) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TP\n\\fB\\-\\-%s\\fR", roff(f.Name))
	switch {
	case f.IsBool():
	case choices(f) != nil:
		fmt.Fprintf(&b, "=%s", roff(strings.Join(choices(f), "|")))
	default:
		fmt.Fprintf(&b, "=\\fI%s\\fR", roff(strings.ToUpper(placeholder(f))))
	}
	fmt.Fprintf(&b, "\n%s\n", roff(f.Help))
	if f.HasDefault && !f.IsBool() {
		fmt.Fprintf(&b, "Default: %s.\n", roff(f.Default))
	}
	if len(f.Envs) > 0 {
		fmt.Fprintf(&b, "Environment: %s.\n", roff(strings.Join(f.Envs, ", ")))
	}
	return b.String()
}

func placeholder(f *kong.Flag) string {
	if f.PlaceHolder != "" {
		return f.PlaceHolder
	}
	return f.Name
}

func paragraphs(text string) string {
	var b strings.Builder
	verbatim := false
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		line = strings.TrimSuffix(line, "\n")
		if indented := strings.HasPrefix(line, "    "); indented != verbatim {
			verbatim = indented
			b.WriteString(map[bool]string{true: ".RS 4\n.nf\n", false: ".fi\n.RE\n"}[verbatim])
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(strings.TrimPrefix(line, "    ")) + "\n")
	}
	if verbatim {
		b.WriteString(".fi\n.RE\n")
	}
	return b.String()
}

// roff is a text of which no character is a request.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
