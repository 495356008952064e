// Package figures draws what the scenarios measured.
package figures

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Bar is one hook's row in a picture.
type Bar struct {
	Label  string
	Failed int     // requests
	Held   float64 // seconds, median
	Max    float64 // seconds, maximum
}

// The picture's measures, in pixels.
const (
	width   = 860
	label   = 200 // column of the labels
	gap     = 60  // between the two charts, for the failed requests' figures
	row     = 34
	bar     = 18
	top     = 74
	bottom  = 46
	figures = 70  // room for the failed requests right of the longest bar
	seconds = 120 // room for the seconds right of the longest bar
)

// SVG draws two charts side by side, a row a hook: failed requests, and the seconds that SIGTERM
// was held back. note says where the figures are from. The same bars give the same picture. It is
// legible on a light and on a dark page.
func SVG(title, note string, bars []Bar) string {
	var b strings.Builder
	height := top + row*len(bars) + bottom
	chart := float64(width-label-gap-figures-seconds) / 2
	second := float64(label) + chart + figures + gap
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">
<style>
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .head { font-weight: 600; } .title { font-size: 15px; font-weight: 600; } .note { font-size: 11px; fill: #57606a; }
  .failed { fill: #cf222e; } .held { fill: #0969da; } .max { stroke: #0969da; stroke-width: 2; } .axis { stroke: #8c959f; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .note { fill: #9198a1; } .failed { fill: #f85149; } .held { fill: #4493f8; } .max { stroke: #4493f8; } }
</style>
`, width, height, width, height, html.EscapeString(title))
	fmt.Fprintf(&b, "<text class=\"title\" x=\"8\" y=\"24\">%s</text>\n", html.EscapeString(title))
	fmt.Fprintf(&b, "<text class=\"head\" x=\"%d\" y=\"54\">failed requests</text>\n<text class=\"head\" x=\"%.0f\" y=\"54\">seconds held, median and maximum</text>\n", label, second)
	failed, held := 1.0, 1.0
	for _, x := range bars {
		failed, held = math.Max(failed, float64(x.Failed)), math.Max(held, x.Max)
	}
	for i, x := range bars {
		y := float64(top + row*i)
		middle := y + float64(bar)/2 + 5
		fmt.Fprintf(&b, "<text x=\"8\" y=\"%.1f\">%s</text>\n", middle, html.EscapeString(x.Label))
		long := chart * float64(x.Failed) / failed
		fmt.Fprintf(&b, "<rect class=\"failed\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", label, y, long, bar)
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\">%d</text>\n", float64(label)+long+6, middle, x.Failed)
		long, end := chart*x.Held/held, chart*x.Max/held
		fmt.Fprintf(&b, "<rect class=\"held\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n", second, y, long, bar)
		fmt.Fprintf(&b, "<line class=\"max\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", second+end, y, second+end, y+bar)
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\">%.1f s, max %.1f</text>\n", second+math.Max(long, end)+6, middle, x.Held, x.Max)
	}
	for _, x := range []float64{label, second} {
		fmt.Fprintf(&b, "<line class=\"axis\" x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\"/>\n", x, top-8, x, top+row*len(bars)-6)
	}
	for i, line := range strings.Split(note, "\n") {
		fmt.Fprintf(&b, "<text class=\"note\" x=\"8\" y=\"%d\">%s</text>\n", height-26+14*i, html.EscapeString(line))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// Table writes a Markdown table.
func Table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, r := range rows {
		line(r)
	}
	return b.String()
}
