// Package report is what the load generator found out.
package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// keep bounds the failures that are kept one by one; all are counted.
const keep = 5000

// Report is the outcome of one run.
type Report struct {
	Started  time.Time
	Ended    time.Time
	Requests map[string]int // by client: "new" connections, kept-alive "get" and "post"
	Failed   int
	Kinds    map[string]int // failures by kind: refused, dial timeout, reset, eof, timeout, status
	Slowest  time.Duration  // slowest request that did not fail
	Newest   time.Time      // when the newest of those was begun
	Failures []Failure
}

// Failure is one failed request.
type Failure struct {
	At     time.Time // when the request began
	Took   time.Duration
	Client string
	Kind   string
	Text   string
}

// Add counts one request; kind is empty for one that went well.
func (r *Report) Add(client string, at time.Time, took time.Duration, kind, text string) {
	if r.Requests == nil {
		r.Requests, r.Kinds = map[string]int{}, map[string]int{}
	}
	r.Requests[client]++
	if kind == "" {
		r.Slowest = max(r.Slowest, took)
		if at.After(r.Newest) {
			r.Newest = at
		}
		return
	}
	r.Failed++
	r.Kinds[kind]++
	if len(r.Failures) < keep {
		r.Failures = append(r.Failures, Failure{at, took, client, kind, text})
	}
}

// Total is how many requests were made.
func (r Report) Total() int {
	n := 0
	for _, k := range r.Requests {
		n += k
	}
	return n
}

// FailedBetween counts the failures among the requests that began in [from, to).
func (r Report) FailedBetween(from, to time.Time) int {
	n := 0
	for _, f := range r.Failures {
		if !f.At.Before(from) && f.At.Before(to) {
			n++
		}
	}
	return n
}

// String is one line: "12345 requests, 3 failed (refused 2, eof 1)".
func (r Report) String() string {
	s := fmt.Sprintf("%d requests, %d failed", r.Total(), r.Failed)
	var kinds []string
	for _, k := range slices.Sorted(maps.Keys(r.Kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, r.Kinds[k]))
	}
	if len(kinds) > 0 {
		s += " (" + strings.Join(kinds, ", ") + ")"
	}
	return s
}
