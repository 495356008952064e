package node

import "testing"

func TestMetricsSum(t *testing.T) {
	const m = Metrics(`# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="pods",subresource="",verb="GET"} 3
apiserver_request_total{code="200",resource="pods",subresource="status",verb="PATCH"} 5
apiserver_request_total{code="403",resource="pods",subresource="",verb="GET"} 2e+01
apiserver_request_total_other{code="200",resource="pods",verb="GET"} 1000
apiserver_request_total{code="200",resource="nodes",subresource="pods",verb="GET"} 300
process_cpu_seconds_total 12.5
`)
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"apiserver_request_total", []string{`resource="pods"`}, 28},
		{"apiserver_request_total", []string{`resource="pods"`, `verb="GET"`}, 23},
		{"apiserver_request_total", []string{`resource="pods"`, `code="403"`}, 20},
		{"process_cpu_seconds_total", nil, 12.5},
		{"none", nil, 0},
	} {
		if got := m.Sum(c.name, c.labels...); got != c.want {
			t.Errorf("%s %v: %g, want %g", c.name, c.labels, got, c.want)
		}
	}
}
