package servers

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// kind is what a way to ask does to keep-alive clients.
type kind string

const (
	softLasting   kind = "with its next answer, for good"
	softOnce      kind = "with its next answer, once"
	closesLasting kind = "when idle, for good"
	closesOnce    kind = "when idle, once"
	notAll        kind = "not each"
)

// figures are what became of the clients of one server.
type figures struct {
	old     int           // connections that were open when the server was asked
	left    int           // of these, that were open in the end
	told    int           // of these, that an answer ended
	gone    time.Duration // when the last of them ended
	losers  int           // clients that lost a request on one of these
	later   int           // clients that lost one on a later connection, or could not connect
	kept    int           // later connections that had a third answer: the second may cross a GOAWAY
	letGo   int           // later connections that ended with their first answer
	crowded int           // clients
}

// count makes the figures of clients that have ended. asked is when the server was asked.
func count(c *crowd, when time.Time) figures {
	f := figures{crowded: len(c.clients)}
	for _, x := range c.clients {
		lost, lostLater := false, false
		for _, conn := range x.connections {
			switch before := conn.opened.Before(when); {
			case before && conn.how != open && conn.ended.Before(when):
			case before:
				f.add(conn, when)
				lost = lost || conn.how == broken
			default:
				lostLater = lostLater || conn.how == broken
				if conn.answers > 2 {
					f.kept++
				} else if conn.how == asked {
					f.letGo++
				}
			}
		}
		if lost {
			f.losers++
		}
		if lostLater || slices.ContainsFunc(x.refused, func(at time.Time) bool { return !at.Before(when) }) {
			f.later++
		}
	}
	return f
}

// add takes in a connection that was open when the server was asked.
func (f *figures) add(conn *connection, when time.Time) {
	f.old++
	switch conn.how {
	case open:
		f.left++
		return
	case asked:
		f.told++
	}
	f.gone = max(f.gone, conn.ended.Sub(when))
}

// kind is what the figures are those of.
func (f figures) kind() kind {
	soft := f.told*2 > f.old
	switch lasting := f.kept == 0 && f.letGo > 0; {
	case f.left > 0:
		return notAll
	case soft && lasting:
		return softLasting
	case soft:
		return softOnce
	case lasting:
		return closesLasting
	}
	return closesOnce
}

// row is a line of the table: an app and one way to ask it.
type row struct {
	app
	way     string
	version string
	drained []figures // one a run
	ended   []figures // by SIGTERM
}

// kind is that of all runs.
func (r row) kind() kind {
	kinds := map[kind]bool{}
	for _, f := range r.drained {
		kinds[f.kind()] = true
	}
	for _, k := range []kind{notAll, closesOnce, closesLasting, softOnce} { // the worst
		if kinds[k] {
			return k
		}
	}
	return softLasting
}

// title names the app, with its version or its file.
func (r row) title() string {
	title, rest, some := strings.Cut(r.name, ",")
	if r.version != "" {
		title += " " + r.version
	}
	if some {
		title += "," + rest
	}
	if r.file != "" {
		title += fmt.Sprintf(", [%s](examples/drain/%s)", path.Base(r.file), r.file)
	}
	return title
}

// table is the rows in Markdown.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| app | asked by | lets a connection go | all gone after | lost a request, of 20 clients | ... at SIGTERM alone |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		gone := between(r.drained, func(f figures) string { return fmt.Sprintf("%.2f", f.gone.Seconds()) }) + " s"
		if r.kind() == notAll {
			gone = between(r.drained, func(f figures) string { return fmt.Sprint(f.left) }) + " of 20 stay"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.title(), r.way, r.kind(), gone,
			between(r.drained, func(f figures) string { return fmt.Sprintf("%2d", max(f.losers, f.later)) }),
			between(r.ended, func(f figures) string { return fmt.Sprintf("%2d", f.losers) }))
	}
	return b.String()
}

// between is the least and the greatest of what the runs say.
func between(runs []figures, say func(figures) string) string {
	var all []string
	for _, f := range runs {
		all = append(all, say(f))
	}
	low, high := strings.TrimSpace(slices.Min(all)), strings.TrimSpace(slices.Max(all))
	if low == high {
		return low
	}
	return low + " to " + high
}
