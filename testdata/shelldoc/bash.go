package shelldoc

import (
	"fmt"
	"slices"
	"strings"
)

// Bash writes completions that need nothing but bash.
func (p Program) Bash() string {
	all := p.commands()
	var values, words strings.Builder
	var names []string
	for _, c := range all {
		names = append(names, c.name)
		var flags, free []string
		for _, f := range c.flags {
			flags = append(flags, "--"+f.Name)
			switch pattern := "'" + c.name + " --" + f.Name + "'"; {
			case f.IsBool():
			case choices(f) != nil:
				fmt.Fprintf(&values, "\t%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", pattern, strings.Join(choices(f), " "))
			case isFile(f):
				fmt.Fprintf(&values, "\t%s) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", pattern)
			default:
				free = append(free, pattern)
			}
		}
		if free != nil {
			fmt.Fprintf(&values, "\t%s) return ;;\n", strings.Join(free, " | "))
		}
		fmt.Fprintf(&words, "\t%s) words='%s' ;;\n", c.name, strings.Join(flags, " "))
	}
	return fmt.Sprintf(`# Completions of %[1]s for bash. Generated from its flags.
_%[1]s() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command=%[2]s words= i
	# The = of --flag=value is a word of its own.
	if [ "$cur" = '=' ]; then
		cur=
	elif [ "$prev" = '=' ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	COMPREPLY=()
	if [ "$COMP_CWORD" -gt 1 ]; then
		case ${COMP_WORDS[1]} in
		%[3]s) command=${COMP_WORDS[1]} ;;
		esac
	fi
	case "$command $prev" in
%[4]s	esac
	case $command in
%[5]s	esac
	if [ "$COMP_CWORD" = 1 ]; then
		words="%[6]s $words"
	fi
%[7]s	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _%[1]s %[1]s
`, p.Name, all[0].name, strings.Join(names, " | "), values.String(), words.String(), strings.Join(names, " "), bashArguments(all))
}

// bashArguments completes what are no flags: directories, and after -- another command line.
func bashArguments(all []command) string {
	var b strings.Builder
	for _, c := range all {
		if slices.ContainsFunc(c.args, isDir) {
			fmt.Fprintf(&b, `	if [ "$command" = %s ] && [ "${cur#-}" = "$cur" ]; then
		COMPREPLY=($(compgen -d -- "$cur"))
		return
	fi
`, c.name)
		}
		if c.wraps {
			fmt.Fprintf(&b, `	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ "$command" = %s ] && [ "${COMP_WORDS[i]}" = -- ]; then
			if [ "$prev" = -- ]; then
				COMPREPLY=($(compgen -c -- "$cur"))
			else
				COMPREPLY=($(compgen -f -- "$cur"))
			fi
			return
		fi
	done
`, c.name)
		}
	}
	return b.String()
}
