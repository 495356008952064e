package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// severity is how bad a finding is. It is part of what --format=json prints.
type severity string

const (
	fine    severity = "ok"
	warning severity = "warning" // may be a mistake
	lacking severity = "lacks"   // the hook would lose requests, or take longer than it has to
)

// finding is one thing that lull check has found out.
type finding struct {
	Severity severity `json:"severity"`
	About    string   `json:"about"`
	Text     string   `json:"text"`
}

// report is what lull check has found out about a pod.
type report struct {
	Pod      string    `json:"pod,omitempty"`
	OK       bool      `json:"ok"`
	Findings []finding `json:"findings"`
	// RBAC is what to add for the rights that are missing, in YAML that may stand behind another's.
	RBAC string `json:"rbac,omitempty"`
}

func (r *report) add(s severity, about, format string, args ...any) {
	r.Findings = append(r.Findings, finding{s, about, fmt.Sprintf(format, args...)})
}

func (r *report) say(about, format string, args ...any)  { r.add(fine, about, format, args...) }
func (r *report) warn(about, format string, args ...any) { r.add(warning, about, format, args...) }
func (r *report) lack(about, format string, args ...any) { r.add(lacking, about, format, args...) }

// finish reports whether all is well. Nothing is added after that.
func (r *report) finish() {
	r.OK = true
	for _, f := range r.Findings {
		r.OK = r.OK && f.Severity != lacking
	}
}

// table prints reports for a person, in colours if so wanted.
type table struct {
	out     io.Writer
	colours bool
}

// ANSI's colours.
const (
	red, green, yellow, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
)

// newTable prints to the standard output: in colours to a terminal, unless the user wants none
// (no-color.org).
func newTable() table {
	return table{os.Stdout, isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// print prints what is there first, and what is lacking last: that is what is to be done.
func (t table) print(r *report) {
	width := len(lacking)
	for _, f := range r.Findings {
		if f.Severity != lacking {
			width = max(width, len(f.About))
		}
	}
	row := func(colour, label, text string) {
		pad := strings.Repeat(" ", width-len(label)+2)
		if t.colours {
			label = colour + label + plain
		}
		fmt.Fprintln(t.out, label+pad+text)
	}
	for _, f := range r.Findings {
		switch f.Severity {
		case fine:
			row(green, f.About, f.Text)
		case warning:
			row(yellow, f.About, "warning: "+f.Text)
		}
	}
	if r.OK {
		row(green, string(lacking), "nothing")
	}
	for _, f := range r.Findings {
		if f.Severity == lacking {
			row(red, string(lacking), f.Text)
		}
	}
}

// printRights prints what accounts lack, each once, whose pods may be many.
func (t table) printRights(reports []*report) {
	var told []string
	for _, r := range reports {
		if r.RBAC == "" || slices.Contains(told, r.RBAC) {
			continue
		}
		if told == nil {
			fmt.Fprint(t.out, "\nThe missing rights, for kubectl auth reconcile -f -:\n\n")
		}
		told = append(told, r.RBAC)
		fmt.Fprint(t.out, r.RBAC)
	}
}

// printReports prints them all, and reports whether nothing is lacking.
func printReports(format string, reports []*report) (ok bool) {
	ok = true
	t := newTable()
	lacks := 0
	for i, r := range reports {
		r.finish()
		if !r.OK {
			ok = false
			lacks++
		}
		if format == "json" {
			line, err := json.Marshal(r)
			if err != nil {
				panic(err) // strings and a bool
			}
			fmt.Printf("%s\n", line)
			continue
		}
		if i > 0 {
			fmt.Println()
		}
		t.print(r)
	}
	if format == "json" {
		return ok
	}
	t.printRights(reports)
	if len(reports) > 1 {
		fmt.Printf("\n%d pods, of which %d lack something\n", len(reports), lacks)
	}
	return ok
}
