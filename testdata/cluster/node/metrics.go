package node

import (
	"context"
	"strconv"
	"strings"
)

// Metrics are a daemon's counters in Prometheus' text format.
type Metrics string

// APIMetrics reads the API server's.
func (n *Node) APIMetrics(ctx context.Context) (Metrics, error) {
	text, err := n.Client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	return Metrics(text), err
}

// Sum adds up the metric's values that have all the labels, each written as name="value".
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
	for line := range strings.Lines(string(m)) {
		series, value, ok := cutLast(strings.TrimSpace(line), " ")
		if !ok || (series != name && !strings.HasPrefix(series, name+"{")) {
			continue
		}
		all := true
		for _, l := range labels {
			// Preceded by the brace or another label: resource= is no subresource=.
			all = all && (strings.Contains(series, "{"+l) || strings.Contains(series, ","+l))
		}
		if v, err := strconv.ParseFloat(value, 64); all && err == nil {
			sum += v
		}
	}
	return sum
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
