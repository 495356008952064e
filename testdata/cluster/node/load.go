package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"

	"lull/testdata/cluster/load/report"
)

// Load is the load generator, running in the node's network.
type Load struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout bytes.Buffer
	stderr bytes.Buffer

	once   sync.Once
	report report.Report
	err    error
}

// StartLoad starts the load generator with its flags; it ends at Stop, with ctx, or with this
// process.
func (n *Node) StartLoad(ctx context.Context, flags ...string) (*Load, error) {
	l := &Load{cmd: n.Command(ctx, append([]string{n.bin("load"), "-stdin"}, flags...)...)}
	l.cmd.Stdout, l.cmd.Stderr = &l.stdout, &l.stderr
	var err error
	if l.stdin, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return l, l.cmd.Start()
}

// Stop ends the load, waits for what is under way, and returns what it found: the same at each call.
func (l *Load) Stop() (report.Report, error) {
	l.once.Do(func() {
		if err := errors.Join(l.stdin.Close(), l.cmd.Wait()); err != nil {
			l.err = fmt.Errorf("load: %w: %s", err, l.stderr.String())
			return
		}
		l.report, l.err = ParseReport(l.stdout.Bytes())
	})
	return l.report, l.err
}

// ParseReport parses what the load generator printed.
func ParseReport(text []byte) (r report.Report, err error) {
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("report of the load: %w", err)
	}
	return r, nil
}
