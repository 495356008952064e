package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// window is lull's --quiet here.
const window = 2 * time.Second

// traffic is something that clients do while lull waits. It returns when the last arrival was
// begun, zero for none. If the app accepts a connection late, that is its arrival.
type traffic struct {
	name string
	few  bool // also where only a few kinds are run
	own  bool // only where the machine is the rig's own
	do   func(*app) time.Time
}

var traffics = []traffic{
	{"nothing", true, false, func(*app) time.Time { return time.Time{} }},
	{"one connection, closed by the client", true, false, func(a *app) time.Time { return a.short(false) }},
	{"one connection, closed by the app", false, false, func(a *app) time.Time { return a.short(true) }},
	{"a request on an old connection", false, false, func(a *app) time.Time { return a.request() }},
	{"connections for 3 s", true, false, func(a *app) (last time.Time) {
		for range 30 {
			last = a.short(false)
			time.Sleep(100 * time.Millisecond)
		}
		return last
	}},
	{"waited for 1.5 s to be accepted", false, false, func(a *app) time.Time { return a.acceptLate() }},
	{"never accepted", false, false, func(a *app) time.Time { return a.neverAccept() }},
	{"a request, and the clock goes an hour on", false, true, func(a *app) time.Time { return a.requestAndStep(time.Hour) }},
	{"a request, and the clock goes an hour back", false, true, func(a *app) time.Time { return a.requestAndStep(-time.Hour) }},
}

// app listens on two ports, and answers on one of them. From the other it accepts when it is told to.
type app struct {
	answers, waits net.Listener
	old            net.Conn
	kept           []net.Conn
	err            error
}

func newApp() (a *app, err error) {
	a = new(app)
	if a.answers, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	if a.waits, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := a.answers.Accept()
			if err != nil {
				return
			}
			go answer(c)
		}
	}()
	a.old, err = net.Dial("tcp", a.answers.Addr().String())
	if err == nil {
		err = ask(a.old, 'e')
	}
	return a, err
}

func (a *app) close() {
	a.old.Close()
	for _, c := range a.kept {
		c.Close()
	}
	a.answers.Close()
	a.waits.Close()
}

// answer sends each byte back, and closes after a c.
func answer(c net.Conn) {
	defer c.Close()
	b := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		if _, err := c.Write(b); err != nil || b[0] == 'c' {
			return
		}
	}
}

func ask(c net.Conn, what byte) error {
	b := []byte{what}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

func (a *app) short(closedByApp bool) time.Time {
	began := time.Now()
	c, err := net.Dial("tcp", a.answers.Addr().String())
	if err != nil {
		a.err = err
		return began
	}
	defer c.Close()
	if !closedByApp {
		a.err = ask(c, 'e')
		return began
	}
	a.err = ask(c, 'c')
	_, _ = c.Read(make([]byte, 1)) // until the app has closed it
	return began
}

func (a *app) request() time.Time {
	began := time.Now()
	a.err = ask(a.old, 'e')
	return began
}

// requestAndStep has the machine's clock stepped in the middle of the window.
func (a *app) requestAndStep(d time.Duration) time.Time {
	began := a.request()
	time.Sleep(window / 2)
	now := unix.NsecToTimespec(time.Now().Add(d).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); err != nil {
		a.err = err
	}
	return began
}

// acceptLate has a request wait in the queue, and then the app accept it and say nothing: it works on it.
func (a *app) acceptLate() time.Time {
	began := a.neverAccept()
	if a.err != nil {
		return began
	}
	time.Sleep(1500 * time.Millisecond)
	accepted := time.Now()
	c, err := a.waits.Accept()
	if a.err = err; err == nil {
		a.kept = append(a.kept, c)
	}
	return accepted
}

// neverAccept has a request wait in the queue.
func (a *app) neverAccept() time.Time {
	began := time.Now()
	c, err := net.Dial("tcp", a.waits.Addr().String())
	if err == nil {
		a.kept = append(a.kept, c)
		_, err = c.Write([]byte("e"))
	}
	a.err = err
	return began
}

// event is a line of lull's story.
type event struct {
	Time  time.Time
	Msg   string
	Event string
	read  time.Time
}

// exit runs lull beside some traffic.
func (g rig) exit(kind traffic, source string) (x exit, story []event) {
	x = exit{Traffic: kind.name, Source: source}
	a, err := newApp()
	if err != nil {
		x.Reason = err.Error()
		return x, nil
	}
	defer a.close()
	c := exec.Command(filepath.Join(g.bin, "lull"), "--port", port(a.answers), "--port", port(a.waits), "--quiet", window.String(), "--timeout", "25s",
		"--source", source, "--format", "json", "--log", "none", "--debug")
	stderr, err := c.StderrPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		x.Reason = err.Error()
		return x, nil
	}
	last := make(chan time.Time, 1)
	var began time.Time
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		e := event{read: time.Now()}
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println("lull:", lines.Text())
			continue
		}
		fmt.Printf("lull, %s: %s\n", kind.name, lines.Text())
		story = append(story, e)
		if e.Event == "no-cluster" { // it watches the sockets now
			began = e.Time
			go func() {
				time.Sleep(300 * time.Millisecond)
				last <- kind.do(a)
			}()
		}
	}
	_ = c.Wait() // the exit code tells
	x.Code = c.ProcessState.ExitCode()
	if began.IsZero() || len(story) == 0 {
		x.Reason = fmt.Sprint("lull said nothing: ", c.ProcessState)
		return x, story
	}
	arrived, end := <-last, story[len(story)-1]
	if arrived.IsZero() {
		arrived = began
	}
	x.Reason = end.Msg
	if a.err != nil {
		x.Err = a.err.Error()
	}
	after := end.Time.Sub(arrived)
	if kind.own { // by the clock that does not step
		after = end.read.Sub(arrived)
	}
	x.AfterMS, x.Early = after.Milliseconds(), after < window
	return x, story
}

func port(l net.Listener) string { return strconv.Itoa(l.Addr().(*net.TCPAddr).Port) }
