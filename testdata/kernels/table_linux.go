package main

import (
	"fmt"
	"regexp"
	"strings"
)

// table is what was measured, for the README.
func table(dir string) (string, error) {
	var seen, exits strings.Builder
	seen.WriteString("| kernel | modules | source of auto | requests that work | ends reported | procnet's tests: passed, failed, skipped | TestTrials |\n|---|---|---|---|---|---|---|\n")
	exits.WriteString("| kernel | modules | source |")
	for _, kind := range traffics {
		exits.WriteString(" " + kind.name + " |")
	}
	exits.WriteString(" early |\n|---|---|---|" + strings.Repeat("---|", len(traffics)+1) + "\n")
	for _, m := range machines {
		list, err := stored(dir, m.name)
		if err != nil {
			return "", err
		}
		if len(list) == 0 || !list[len(list)-1].Done {
			fmt.Fprintf(&seen, "| %s | not measured to its end | | | | | |\n", m.name)
		}
		for i, r := range list {
			if r.Done || i+1 < len(list) && list[i+1].Stage == r.Stage {
				continue // a later report of the stage has more
			}
			fmt.Fprintf(&seen, "| %s | %s | %s | %s | %s | %s | %s |\n", r.Kernel, r.Stage, r.Source, strings.Join(r.Request, ", "), r.Events, r.Tests.text(), r.Trials.trials())
			fmt.Fprintf(&exits, "| %s | %s | %s |%s\n", r.Kernel, r.Stage, r.Source, r.exits())
		}
	}
	return seen.String() + "\nThe exit, in ms after the last arrival began; the window is " + window.String() + ":\n\n" + exits.String(), nil
}

// exits are the cells of a row.
func (r report) exits() string {
	var row strings.Builder
	early := 0
	for _, kind := range traffics {
		cell := " not run: it was not reported |"
		for _, x := range r.Exits {
			if x.Traffic != kind.name {
				continue
			}
			cell = fmt.Sprintf(" %d |", x.AfterMS)
			switch {
			case x.NotRun != "":
				cell = " not run: " + x.NotRun + " |"
			case x.Err != "":
				cell = " not tried: " + x.Err + " |"
			case x.Code != 0:
				cell = fmt.Sprintf(" %d, code %d |", x.AfterMS, x.Code)
			}
			if x.Early {
				early++
			}
		}
		row.WriteString(cell)
	}
	fmt.Fprintf(&row, " %d |", early)
	return row.String()
}

func (s *suite) text() string {
	if s == nil {
		return "not run"
	}
	text := fmt.Sprintf("%d, %d, %d", s.Passed, s.Failed, s.Skipped)
	var whole []string
	for _, name := range s.Failures {
		if !strings.Contains(name, "/") {
			whole = append(whole, name)
		}
	}
	if len(whole) > 0 {
		text += ": " + strings.Join(whole, ", ")
	}
	if !s.Finished {
		text += " (did not end)"
	}
	return text
}

var ended = regexp.MustCompile(`lull ended (-?\d+ to \d+) ms after.* because it was late: (\d+)`)

// trials are what TestTrials says of each source.
func (s *suite) trials() string {
	if s == nil {
		return "not run"
	}
	var list []string
	for i, text := range s.Figures {
		if m := ended.FindStringSubmatch(text); m != nil && i < 2 {
			list = append(list, []string{"netlink ", "proc "}[i]+m[1]+" ms, late "+m[2])
		}
	}
	if s.Failed > 0 {
		list = append(list, "FAILED")
	}
	return strings.Join(list, "; ")
}
