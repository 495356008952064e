package procnet

import "testing"

// TestProcCountersGoBack checks that a counter that goes back is an arrival: what came meanwhile is
// not known. It is told once.
func TestProcCountersGoBack(t *testing.T) {
	idle := procRow("10.0.0.1:80", "10.0.0.8:1000", 1, 0)
	for name, back := range map[string]func(*fakeProc){
		"PassiveOpens": func(f *fakeProc) { f.opens = 3 },
		"InSegs":       func(f *fakeProc) { f.segs, f.acks = 600, 300 },
		"ListenDrops":  func(f *fakeProc) { f.segs, f.acks, f.drops = f.segs+1, f.acks+1, 3 },
		"all":          func(f *fakeProc) { f.opens, f.segs, f.acks = 0, 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeProc(t, append(listenRows(), idle)...)
			f.drops = 300
			s := f.open(t)
			if got := f.look(t, s, func() { back(f) }, 80); got == "" {
				t.Error("nothing has arrived")
			}
			if got := f.look(t, s, func() {}, 80); got != "" {
				t.Errorf("then %s", got)
			}
			if got := f.look(t, s, func() { f.opens++ }, 80); got != "1 connection :0" {
				t.Errorf("a new connection: %s", got)
			}
		})
	}
}
