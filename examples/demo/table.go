package main

import (
	"fmt"
	"strings"
)

// table shows the runs side by side.
func table(rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %16s %16s %15s\n", "hook", "requests served", "requests failed", "seconds waited")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-12s %16d %16d %15.1f\n", r.Hook, r.Served, r.Failed, r.Waited.Seconds())
	}
	return b.String()
}
