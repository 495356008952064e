package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// logKeeper keeps the logs of containers that are gone. The kubelet removes them with the pod, so
// each is linked into a directory of ours soon after it appears; the link shares the file, and so
// all that is written later.
type logKeeper struct {
	from, to string
	stop     chan struct{}
	done     chan struct{}
}

func keepLogs(p paths) *logKeeper {
	k := &logKeeper{from: p.fs("var-log", "pods"), to: p.run("pods"), stop: make(chan struct{}), done: make(chan struct{})}
	go k.loop()
	return k
}

func (k *logKeeper) close() {
	select {
	case <-k.stop:
	default:
		close(k.stop)
	}
	<-k.done
}

func (k *logKeeper) loop() {
	defer close(k.done)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	seen := map[string]bool{}
	for {
		// NAMESPACE_POD_UID/CONTAINER/RESTARTS.log: pkg/kubelet/kuberuntime/helpers.go,
		// buildContainerLogsPath.
		files, _ := filepath.Glob(filepath.Join(k.from, "*", "*", "*.log"))
		for _, file := range files {
			if seen[file] {
				continue
			}
			rel, _ := filepath.Rel(k.from, file)
			kept := filepath.Join(k.to, strings.ReplaceAll(rel, string(filepath.Separator), "_"))
			seen[file] = os.Link(file, kept) == nil
		}
		select {
		case <-k.stop:
			return
		case <-tick.C:
		}
	}
}

// LogLine is one line that a container wrote, with the time at which containerd read it.
type LogLine struct {
	Time time.Time
	Text string
}

// PodLog returns what a container of a pod has written so far, restarts included, also when the pod
// is gone. A line that can't be parsed is left out; a log that is not there is empty.
func (n *Node) PodLog(namespace, pod, container string) []LogLine {
	files, _ := filepath.Glob(filepath.Join(n.run("pods"), namespace+"_"+pod+"_*_"+container+"_*.log"))
	slices.Sort(files)
	var lines []LogLine
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if l, ok := parseLogLine(line); ok {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// parseLogLine parses a line of the CRI log format: time, stream, tag, text
// (k8s.io/cri-client, pkg/logs, parseCRILog).
func parseLogLine(line string) (LogLine, bool) {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
	if len(fields) != 4 {
		return LogLine{}, false
	}
	at, err := time.Parse(time.RFC3339Nano, fields[0])
	return LogLine{at, fields[3]}, err == nil
}
