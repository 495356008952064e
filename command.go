package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Exit codes of a command that cannot be run, those of a shell.
const (
	exitNotExecutable = 126
	exitNotFound      = 127
)

// splitCommand takes apart the flags and the command after "--", which lull becomes when it is
// done. No "--" means no command.
func splitCommand(args []string) (flags, command []string) {
	if at := slices.Index(args, "--"); at >= 0 {
		return args[:at], args[at+1:]
	}
	return args, nil
}

// checkCommand returns what is wrong with a command line that has a command, or should have one.
func checkCommand(flags, command []string) error {
	switch {
	case command == nil:
		return nil
	case len(command) == 0:
		return errors.New("no command after --")
	case len(flags) > 0 && (flags[0] == "watch" || flags[0] == "install"):
		return fmt.Errorf("%s takes no command", flags[0])
	}
	return nil
}

// become turns the process into the command, so that signals and the exit code are its own. It
// returns only if that cannot be done, with the exit code. A hook's stderr has no reader, so what
// can be known beforehand is told while the story is open.
func become(command []string, e ending, s *story) int {
	path, err := exec.LookPath(command[0])
	if err != nil {
		s.Log.Error(fmt.Sprintf("cannot run %s: %v: exiting with %d; name a program of this image after --", command[0], err, commandCode(err)),
			"event", "command-failed", "command", command, "reason", e.reason)
		s.Close()
		return commandCode(err)
	}
	s.Log.Info("running "+strings.Join(command, " "), "event", "command", "command", command, "reason", e.reason)
	s.Close()
	// The command would inherit that the signal is ignored.
	signal.Reset(syscall.SIGPIPE)
	err = syscall.Exec(path, command, append(os.Environ(),
		"LULL_REASON="+e.reason, "LULL_HELD="+seconds(e.held), "LULL_LEFT="+seconds(e.left)))
	fmt.Fprintf(os.Stderr, "lull: cannot run %s: %v\n", command[0], err)
	return commandCode(err)
}

// commandCode is the exit code for a command that cannot be run.
func commandCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return exitNotFound
	}
	return exitNotExecutable
}

// seconds are whole seconds with milliseconds, as a shell's arithmetic or sleep takes them.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(max(0, d).Seconds(), 'f', 3, 64)
}
