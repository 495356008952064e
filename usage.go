package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// runHalfWrong is the hook of a command line or an environment that is partly wrong. A typo must
// not drop traffic: what is right holds, for what is wrong the defaults do. The exit code says that
// it was wrong.
func runHalfWrong(ctx context.Context, start time.Time, args, command []string) error {
	c, wrong := parseRight(args)
	if err := checkCommand(args, command); err != nil {
		wrong = append(wrong, err)
	}
	c.Wait.command = command
	s := openStory(c.Wait.storyFlags)
	for _, err := range wrong {
		s.Log.Error("wrong usage: "+err.Error()+": going on without it; see "+helpOf(args), "event", "usage")
	}
	e := c.Wait.hold(ctx, start, s)
	if e.reason = "usage"; e.code < 128 {
		e.code = exitUsage
	}
	return c.Wait.finish(e, s)
}

// parseRight parses what is right of the flags in the environment and on the command line, and
// returns what is wrong. It takes the wrong ones out of the environment.
func parseRight(args []string) (c *cli, wrong []error) {
	environment := takeFlags()
	for _, kv := range environment {
		name, value, _ := strings.Cut(kv, "=")
		err := os.Setenv(name, value)
		if err == nil {
			err = parses(nil, nil)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s=%s: %w", name, value, err))
			os.Unsetenv(name)
		}
	}
	var right []string
	for len(args) > 0 {
		n, err := parsesFirst(right, args)
		if err != nil && isStray(args[0]) {
			wrong = append(wrong, strayError(args))
			break
		}
		if err != nil {
			wrong = append(wrong, err)
		} else {
			right = append(right, args[:n]...)
		}
		args = args[n:]
	}
	c = &cli{}
	_, err := newParser(c).Parse(right)
	newParser(c).FatalIfErrorf(err)
	return c, wrong
}

// parses returns what is wrong with arguments behind others that are right.
func parses(right, args []string) error {
	if slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "--help" || a == "--version" }) {
		return fmt.Errorf("%s is no flag of a hook", args[0])
	}
	_, err := parse(&cli{}, slices.Concat(right, args))
	return err
}

// parsesFirst finds the first argument's end, a flag and its value being one, and returns what is
// wrong with it behind those that are right.
func parsesFirst(right, args []string) (n int, err error) {
	if err = parses(right, args[:1]); err == nil || len(args) == 1 {
		return 1, err
	}
	if strings.HasPrefix(args[0], "-") && !strings.Contains(args[0], "=") && !strings.HasPrefix(args[1], "-") {
		err = parses(right, args[:2])
		return 2, err
	}
	return 1, err
}

// isStray reports whether an argument is neither a flag nor one of lull's commands.
func isStray(arg string) bool {
	return (arg == "-" || !strings.HasPrefix(arg, "-")) && arg != "wait" && isHook([]string{arg})
}

// strayError is about a stray argument and what follows: most likely a command and its arguments,
// which are not told, since there may be a password among them. Its flags may look like lull's.
func strayError(args []string) error {
	name := args[0]
	if name == "" || !isPlainPath(name) {
		name = strconv.Quote(name)
	}
	if len(args) > 1 {
		name += " ..."
	}
	return fmt.Errorf("%s is no flag: a command stands behind --: lull -- %s", name, name)
}

// tellWrong tells a person what is wrong, first things first, and where to read on.
func tellWrong(args []string, err error) {
	if isHook(args) {
		if _, wrong := parseRight(args); len(wrong) > 0 {
			err = wrong[0]
		}
	}
	fmt.Fprintf(os.Stderr, "lull: wrong usage: %v\nlull: hint: see %s\n", err, helpOf(args))
}

// helpOf is where the flags stand that the arguments are about.
func helpOf(args []string) string {
	switch {
	case len(args) > 0 && isStray(args[0]):
		return "lull --help"
	case isHook(args):
		return "lull wait --help"
	}
	return "lull " + args[0] + " --help"
}

// isHook reports whether the arguments, wrong as they are, mean the hook.
func isHook(args []string) bool {
	return len(args) == 0 || args[0] != "check" && args[0] != "watch" && args[0] != "install"
}

// isServiceLink reports whether the variable is not meant as a flag: a Service named lull puts
// LULL_PORT=tcp://10.0.0.1:80 into every container (pkg/kubelet/envvars, FromServices). Of the
// names that a Service can make, no other is a flag's.
func isServiceLink(name, value string) bool {
	protocol, _, ok := strings.Cut(value, "://")
	return ok && name == "LULL_PORT" && slices.Contains([]string{"tcp", "udp", "sctp"}, protocol)
}

// unsetFlags takes flags out of the environment.
func unsetFlags(which func(name, value string) bool) {
	for _, kv := range flagsInEnvironment() {
		if name, value, _ := strings.Cut(kv, "="); which(name, value) {
			os.Unsetenv(name)
		}
	}
}

// takeFlags takes all flags out of the environment, and returns them.
func takeFlags() []string {
	flags := flagsInEnvironment()
	unsetFlags(func(string, string) bool { return true })
	return flags
}

func flagsInEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return !strings.HasPrefix(kv, "LULL_") })
}
