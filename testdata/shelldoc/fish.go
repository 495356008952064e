package shelldoc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Fish writes completions for fish.
func (p Program) Fish() string {
	all := p.commands()
	var names []string
	for _, c := range all {
		names = append(names, c.name)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Completions of %[1]s for fish. Generated from its flags.
function __%[1]s_command -d 'Reports whether the command line is one of this command'
    set -l words (commandline -opc)
    set -l command %[2]s
    if contains -- "$words[2]" %[3]s
        set command $words[2]
    end
    test "$command" = $argv[1]
end
function __%[1]s_wrapped -d 'Completes the command line after --'
    complete -C (string replace -r '^.*? -- +' '' -- (commandline -cp))
end
complete -c %[1]s -f
`, p.Name, all[0].name, strings.Join(names, " "))
	for _, c := range all {
		fmt.Fprintf(&b, "complete -c %s -n __fish_use_subcommand -a %s -d '%s'\n", p.Name, c.name, fishText(c.help))
	}
	for _, c := range all {
		line := fmt.Sprintf("complete -c %s -n '__%s_command %s'", p.Name, p.Name, c.name)
		for _, f := range c.flags {
			fmt.Fprintf(&b, "%s -l %s -d '%s'%s\n", line, f.Name, fishText(f.Help), fishValue(f))
		}
		if slices.ContainsFunc(c.args, isDir) {
			fmt.Fprintf(&b, "%s -a '(__fish_complete_directories)'\n", line)
		}
		if c.wraps {
			fmt.Fprintf(&b, "%s -n 'contains -- -- (commandline -opc)' -a '(__%s_wrapped)'\n", line, p.Name)
		}
	}
	return b.String()
}

// fishValue says what a flag's value may be.
func fishValue(f *kong.Flag) string {
	switch {
	case f.IsBool():
		return ""
	case choices(f) != nil:
		return fmt.Sprintf(" -x -a '%s'", strings.Join(choices(f), " "))
	case isFile(f):
		return " -r -F"
	}
	return " -x"
}

func fishText(help string) string {
	return strings.ReplaceAll(strings.ReplaceAll(brief(help), `\`, `\\`), `'`, `\'`)
}
