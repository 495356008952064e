package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"lull/testdata/shelldoc"
)

// shellDir has the man page and the completions.
const shellDir = "examples/shell"

// TestShell checks that the man page and the completions are those of the flags.
func TestShell(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.Name("lull"), kong.Description(newParser(&cli{}).Model.Help), kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	lull := shelldoc.Program{Application: parser.Model, Wraps: []string{"wait", "check"}}
	for name, text := range map[string]string{
		"lull.1":    lull.Man("preStop hook that holds SIGTERM until nothing arrives", manSections...),
		"lull.bash": lull.Bash(),
		"_lull":     lull.Zsh(),
		"lull.fish": lull.Fish(),
	} {
		file := filepath.Join(shellDir, name)
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s is stale (%v): go test . -run TestShell -update", file, err)
		}
	}
}

// manSections are those of the man page that no flag has.
var manSections = []shelldoc.Section{
	{Title: "EXIT STATUS", Text: `
0: nothing has arrived for long enough, or there is nothing to wait for.

1: an error. lull check exits with it, too, where the hook would lack something.

2: wrong usage. As a hook lull waits all the same, with what is right of it.

3: the budget ran out first; the kubelet records FailedPreStopHook.

128 and its number: ended by a signal.

With a command after --: the command's own; 126 or 127 where it cannot be run.
`},
	{Title: "EXAMPLES", Text: `
The hook, in a container of a pod:

    lifecycle:
      preStop:
        exec:
          command: [/lull]

Before the one that is there already:

          command: [/lull, --, nginx, -s, quit]

From a laptop, what the hook of a pod would see and do:

    lull check --kubeconfig ~/.kube/config --namespace shop --pod web-7d4b9c-x2x5p
`},
	{Title: "SEE ALSO", Text: "kubectl(1), ss(8), sock_diag(7)"},
}

// completion is what a shell must offer at the end of a command line.
type completion struct {
	words []string // the last is being typed
	has   []string
	lacks []string
}

var completions = []completion{
	{[]string{"lull", ""}, []string{"wait", "check", "watch", "install"}, nil},
	{[]string{"lull", "c"}, []string{"check"}, []string{"watch"}},
	{[]string{"lull", "--keep"}, []string{"--keepalive-wait"}, []string{"--quiet"}},
	{[]string{"lull", "check", "--kube"}, []string{"--kubeconfig"}, []string{"--quiet"}},
	{[]string{"lull", "watch", "--"}, []string{"--source", "--format"}, []string{"--quiet"}},
	{[]string{"lull", "check", "--endpoints", ""}, []string{"auto", "skip"}, []string{"check", "--quiet"}},
	{[]string{"lull", "--handover", "a"}, []string{"auto", "always"}, []string{"never"}},
	{[]string{"lull", "check", "--kubeconfig", "go.m"}, []string{"go.mod"}, nil},
	{[]string{"lull", "--quiet", "5s", "--", "printen"}, []string{"printenv"}, nil},
	{[]string{"lull", "install", "exam"}, []string{"examples"}, nil},
}

// TestCompletions asks the shells themselves what they offer.
func TestCompletions(t *testing.T) {
	for shell, ask := range map[string]func(words []string) []string{
		"bash": askBash,
		"fish": func(words []string) []string {
			return []string{"-c", "source " + shellDir + `/lull.fish; complete -C "$argv"`, strings.Join(words, " ")}
		},
		"zsh": askZsh,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("no %s here", shell)
			}
			for _, c := range completions {
				ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
				cmd := exec.CommandContext(ctx, shell, ask(c.words)...)
				cmd.WaitDelay = 5 * time.Second // zsh's own child may outlive it, with the output open
				out, err := cmd.CombinedOutput()
				stop()
				offers := offered(string(out))
				for _, want := range c.has {
					if !slices.Contains(offers, want) {
						t.Errorf("%q: does not offer %q (%v):\n%s", c.words, want, err, out)
					}
				}
				for _, unwanted := range c.lacks {
					if slices.Contains(offers, unwanted) {
						t.Errorf("%q: offers %q:\n%s", c.words, unwanted, out)
					}
				}
			}
		})
	}
}

// offered lists the words that a shell offers: without the descriptions that fish puts after a tab,
// and without the command line itself, which zsh prints.
func offered(out string) []string {
	var words []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "lull ") {
			continue
		}
		line, _, _ = strings.Cut(line, "\t")
		for _, word := range strings.Fields(line) {
			words = append(words, strings.TrimSuffix(word, "/"))
		}
	}
	return words
}

// askBash calls the completion as bash does.
func askBash(words []string) []string {
	script := `source ` + shellDir + `/lull.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _lull; printf '%s\n' "${COMPREPLY[@]}"`
	return append([]string{"--norc", "-c", script, "bash"}, words...)
}

// askZsh types into a zsh on a terminal of its own, since completion is not to be had otherwise.
// Control-D lists the choices, but ends the input where zsh does not edit the line yet: its prompt,
// which is not what was typed to set it, says that it does.
func askZsh(words []string) []string {
	script := `
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "TERM=dumb; LISTMAX=10000; fpath=($PWD/` + shellDir + ` \$fpath); autoload -Uz compinit; compinit -u -D; PS1=ready%%"
zpty -r z line $'*ready%[^%]*'
zpty -w -n z "$*"$'\C-d'
zpty -w -n z $'\C-u'; zpty -w z "echo DONE\$((1))"
zpty -r z line '*DONE1*'
print -r -- $line`
	return append([]string{"-f", "-c", script, "zsh"}, words...)
}
