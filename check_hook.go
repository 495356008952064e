package main

import (
	"errors"
	"io"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"lull/kube"
)

// lullHook is a preStop command that runs lull.
type lullHook struct {
	path string   // of lull, as the hook names it
	args []string // those of lull
	// by is what runs it in between, a shell or the like, which knows what becomes of the arguments;
	// "" for nothing.
	by string
}

// shells run a command that is one argument, behind -c.
var shells = []string{"sh", "bash", "dash", "ash", "ksh", "zsh"}

// wrappers run the command that their last arguments are.
var wrappers = []string{
	"env", "nice", "ionice", "nohup", "timeout", "setsid", "stdbuf", "busybox", "chroot", "nsenter",
	"tini", "dumb-init", "catatonit", "su-exec", "gosu", "setpriv",
}

// findLull returns how the hook runs lull, false if it does not.
func findLull(h kube.PreStop) (l lullHook, ok bool) { return lullIn(h.Command) }

// lullIn looks at what is executed: lull's name among the arguments of something else is a word.
func lullIn(words []string) (l lullHook, ok bool) {
	if len(words) == 0 {
		return l, false
	}
	if name := path.Base(words[0]); slices.Contains(wrappers, name) {
		at := slices.IndexFunc(words, func(word string) bool { return isLull(word) || isShell(word) })
		if at > 0 {
			l, ok = lullUnwrapped(words[at:])
		}
		l.by = name
		return l, ok
	}
	return lullUnwrapped(words)
}

func lullUnwrapped(words []string) (l lullHook, ok bool) {
	switch {
	case isLull(words[0]):
		return lullHook{path: words[0], args: words[1:]}, true
	case isShell(words[0]):
		l, ok = lullInScript(words[1:])
		l.by = path.Base(words[0])
	}
	return l, ok
}

func isLull(word string) bool  { return path.Base(word) == "lull" }
func isShell(word string) bool { return slices.Contains(shells, path.Base(word)) }

// lullInScript looks at a shell's arguments for a command that runs lull.
func lullInScript(args []string) (l lullHook, ok bool) {
	at := slices.IndexFunc(args, func(arg string) bool {
		return strings.HasPrefix(arg, "-") && !strings.HasPrefix(arg, "--") && strings.HasSuffix(arg, "c")
	})
	if at < 0 || at+1 >= len(args) {
		return l, false
	}
	for _, command := range strings.FieldsFunc(args[at+1], func(r rune) bool { return strings.ContainsRune(";&|\n(){}", r) }) {
		words := strings.Fields(command)
		for i := range words {
			words[i] = strings.Trim(words[i], `"'`)
		}
		if l, ok = lullIn(afterKeywords(words)); ok {
			return l, true
		}
	}
	return l, false
}

// afterKeywords leaves out what may stand in front of a shell's simple command.
func afterKeywords(words []string) []string {
	keywords := []string{"exec", "command", "time", "if", "then", "else", "elif", "while", "until", "do", "!"}
	for len(words) > 0 && (slices.Contains(keywords, words[0]) || strings.Contains(words[0], "=")) {
		words = words[1:]
	}
	return words
}

// heldByLull reports whether the hook is lull, and not another of its commands.
func heldByLull(h kube.PreStop) bool {
	l, ok := findLull(h)
	return ok && isHook(l.args)
}

// lullPath is where lull is in the pod: where its hook has it. People paste it, so it is only taken
// if it means itself to a shell.
func (k *podCheck) lullPath() string {
	if c := k.holder(); c != nil {
		if l, _ := findLull(c.Hook); isPlainPath(l.path) {
			return l.path
		}
	}
	return "/lull"
}

func isPlainPath(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == ""
}

// inThePod is the command that checks the pod from inside.
func (k *podCheck) inThePod() string {
	command := k.flags.kubectl("exec")
	if c := k.holder(); c != nil {
		command += " -c " + c.Name
	}
	return command + " -- " + k.lullPath() + " check"
}

// adopt takes over the flags with which the pod's hook runs, where the user has not said otherwise:
// they are what is to be checked.
func (k *podCheck) adopt() {
	c := k.holder()
	if c == nil {
		return
	}
	var flags, command []string
	if l, _ := findLull(c.Hook); l.by == "" {
		flags, command = splitCommand(l.args)
	}
	hook, err := parseAlone(c.Env, flags)
	switch {
	case errors.Is(err, errPrints):
		k.report.lack("hook", "a hook that holds: that of container %s %v", c.Name, err)
		return
	case err != nil:
		if name, ok := strings.CutPrefix(err.Error(), "unexpected argument "); ok && slices.Contains(flags, name) {
			err = strayError(flags[slices.Index(flags, name):])
		}
		k.report.lack("hook", "flags that are right in container %s: %v", c.Name, err)
		return
	}
	none, err := parseAlone(nil, nil)
	if err != nil {
		return // nothing is right by itself
	}
	mine := k.flags
	adoptFlags(&mine.policyFlags, none.Wait.policyFlags, hook.Wait.policyFlags)
	adoptFlags(&mine.socketFlags, none.Wait.socketFlags, hook.Wait.socketFlags)
	if slices.Equal(mine.Service, none.Wait.Service) {
		mine.Service = hook.Wait.Service
	}
	if len(mine.command) == 0 {
		mine.command = command
	}
	if hook.Wait.Disabled {
		k.report.lack("hook", "a hook that holds: container %s has LULL_DISABLED", c.Name)
	}
	if hook.Wait.Endpoints == "skip" {
		k.report.lack("slices", "the EndpointSlices: the hook has --endpoints=skip, so it takes at least %s", mine.policy().SocketsAlone())
	}
}

// errPrints is what --help and --version are to a hook.
var errPrints = errors.New("prints something and exits: --help or --version")

// parseAlone parses a hook's environment and arguments, without this process's environment.
func parseAlone(env, args []string) (c cli, err error) {
	parser := newParser(&c)
	for _, node := range parser.Model.Children {
		for _, f := range node.Flags {
			f.Tag.Envs = nil
		}
	}
	prints := false
	parser.Exit = func(int) { prints = true }
	parser.Stdout, parser.Stderr = io.Discard, io.Discard
	if err := kong.Resolvers(fromEnvironment(env)).Apply(parser); err != nil {
		return c, err
	}
	_, err = parser.Parse(args)
	if prints {
		err = errPrints
	}
	return c, err
}

// fromEnvironment finds flags in a container's environment. Of its variables only the flags' own
// count: LULL_TEAM is the user's.
func fromEnvironment(env []string) kong.ResolverFunc {
	values := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if !isServiceLink(name, value) {
			values[name] = value
		}
	}
	return func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		for _, name := range flag.Envs {
			if value := values[name]; value != "" {
				return value, nil
			}
		}
		return nil, nil // kong's way to say that there is none
	}
}

// adoptFlags replaces the fields that have their defaults.
func adoptFlags[T any](mine *T, defaults, theirs T) {
	to, from, unset := reflect.ValueOf(mine).Elem(), reflect.ValueOf(theirs), reflect.ValueOf(defaults)
	for i := range to.NumField() {
		if reflect.DeepEqual(to.Field(i).Interface(), unset.Field(i).Interface()) {
			to.Field(i).Set(from.Field(i))
		}
	}
}
