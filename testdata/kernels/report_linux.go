package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// mark begins a line of a report. Whatever else the machine prints is a log.
const mark = "@kernels "

// report is a stage's, in JSON, from the machine to the driver.
type report struct {
	Kernel  string // as uname has it
	Stage   string // which modules there are
	Source  string // that auto takes
	Why     string // not netlink
	Request []string
	Events  string // reports of ends received, of connections ended
	Exits   []exit
	Tests   *suite // procnet's
	Trials  *suite // TestTrials
	Done    bool   // the machine's last report
}

// exit is how one run of lull ended.
type exit struct {
	Traffic string
	Source  string
	AfterMS int64 // from when the client began its last arrival until lull decided
	Early   bool
	Code    int
	Reason  string
	Err     string // of the app and its clients: what was to happen did not
	NotRun  string // why it was left out
}

// suite is what a test program did.
type suite struct {
	Passed, Failed, Skipped int
	Failures                []string
	Figures                 []string // what TestTrials says of each source
	Finished                bool
}

func (r report) send() {
	b, err := json.Marshal(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("\n" + mark + string(b))
}

// collect keeps a machine's reports, and all that it prints in a log. It returns whether the last
// report came.
func collect(dir, name string, out io.Reader) (done bool, err error) {
	logFile, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return false, err
	}
	defer logFile.Close()
	reports, err := os.Create(filepath.Join(dir, name+".jsonl"))
	if err != nil {
		return false, err
	}
	defer reports.Close()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fmt.Fprintln(logFile, strings.TrimRight(lines.Text(), "\r"))
		_, text, ok := strings.Cut(lines.Text(), mark)
		if !ok {
			continue
		}
		var r report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return false, fmt.Errorf("report %q: %w", text, err)
		}
		fmt.Fprintln(reports, strings.TrimSpace(text))
		log.Printf("%s: %s", name, r.text())
		done = done || r.Done
	}
	return done, lines.Err()
}

// stored returns the reports that were kept of a machine.
func stored(dir, name string) (list []report, err error) {
	b, err := os.ReadFile(filepath.Join(dir, name+".jsonl"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	for line := range strings.Lines(string(b)) {
		var r report
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, r)
	}
	return list, err
}

func (r report) text() string {
	if r.Done {
		return "done"
	}
	s := fmt.Sprintf("%s, %s: source %s", r.Kernel, r.Stage, r.Source)
	if r.Tests != nil {
		s += fmt.Sprintf(", procnet %+v", *r.Tests)
	}
	if r.Trials != nil {
		s += fmt.Sprintf(", trials %+v", *r.Trials)
	}
	for _, x := range r.Exits {
		if x.NotRun != "" {
			continue
		}
		s += fmt.Sprintf("; %s %s %d ms code %d", x.Traffic, x.Source, x.AfterMS, x.Code)
		if x.Early {
			s += " EARLY"
		}
		if x.Err != "" {
			s += " " + x.Err
		}
	}
	return s
}
