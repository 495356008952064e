package wait

import (
	"testing"
	"time"
)

// at is a time on a test's clock, in milliseconds.
func at(start time.Time, ms int) time.Time {
	return start.Add(time.Duration(ms) * time.Millisecond)
}

func TestScheduleClaim(t *testing.T) {
	second := Probe{Port: 8080, Period: time.Second}
	for name, tt := range map[string]struct {
		probes []Probe
		claims map[int]bool // by time in ms: is it a probe?
	}{
		"one a period":                 {[]Probe{second}, map[int]bool{200: true, 1200: true, 2200: true}},
		"a client on top":              {[]Probe{second}, map[int]bool{200: true, 700: false, 1200: true, 1500: false}},
		"two probes":                   {[]Probe{second, second}, map[int]bool{200: true, 700: true, 900: false, 1200: true, 1700: true}},
		"within the slack":             {[]Probe{second}, map[int]bool{200: true, 951: true, 1950: true}},
		"before the slack":             {[]Probe{second}, map[int]bool{200: true, 949: false}},
		"a missed one may come late":   {[]Probe{second}, map[int]bool{200: true, 2300: true, 2310: true, 2320: false}},
		"none known":                   {nil, map[int]bool{200: false}},
		"none on the port":             {[]Probe{{Port: 9090, Period: time.Second}}, map[int]bool{200: false}},
		"a period of nothing is none":  {[]Probe{{Port: 8080}}, map[int]bool{200: false}},
		"the longer period first":      {[]Probe{{Port: 8080, Period: 2 * time.Second}, second}, map[int]bool{219: true, 1208: true, 1488: true, 2212: true, 2500: false}},
		"a guess that is taken back":   {[]Probe{{Port: 8080, Period: 2 * time.Second}, {Port: 8080, Period: 3 * time.Second}}, map[int]bool{283: true, 659: true, 2658: true, 3277: true, 3400: false}},
		"the earliest of a period set": {[]Probe{second}, map[int]bool{400: true, 1180: true, 2150: true, 2700: false}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			var s schedule
			s.learn(tt.probes)
			for ms := range 4000 {
				want, asked := tt.claims[ms]
				if asked && s.claim(8080, origin{node: true}, at(start, ms)) != want {
					t.Errorf("at %d ms a probe: %v, want %v", ms, !want, want)
				}
			}
		})
	}
}

// TestScheduleLearn: the schedule stays as long as the probes do, with one that has no period among
// them, too.
func TestScheduleLearn(t *testing.T) {
	start := time.Now()
	probes := []Probe{{Port: 8080}, {Port: 8080, Period: time.Second}}
	var s schedule
	s.learn(probes)
	s.claim(8080, origin{node: true}, at(start, 200))
	if s.learn(probes); s.claim(8080, origin{node: true}, at(start, 300)) {
		t.Error("begun anew")
	}
	if s.learn(probes[:1]); len(s) != 0 {
		t.Error("not replaced")
	}
}

func TestScheduleClaimCounted(t *testing.T) {
	start := time.Now()
	var s schedule
	s.learn([]Probe{{Port: 8080, Period: time.Second}})
	if s.claimCounted(0, at(start, 200)) {
		t.Error("claimed although no probe has shown its schedule")
	}
	s.claim(8080, origin{node: true}, at(start, 200))
	for _, tt := range []struct {
		ms   int
		port uint16
		want bool
	}{
		{1260, 0, true},
		{1300, 0, false},    // used up
		{2700, 0, false},    // off the schedule
		{3250, 8080, true},  // two periods on
		{4250, 9090, false}, // another port
	} {
		if got := s.claimCounted(tt.port, at(start, tt.ms)); got != tt.want {
			t.Errorf("at %d ms on port %d a probe: %v, want %v", tt.ms, tt.port, got, tt.want)
		}
	}
}

func TestScheduleLearnKeepsWhatIsKnown(t *testing.T) {
	start := time.Now()
	probes := []Probe{{Port: 8080, Period: time.Second}}
	var s schedule
	s.learn(probes)
	s.claim(8080, origin{node: true}, at(start, 200))
	s.learn(probes)
	if s.claim(8080, origin{node: true}, at(start, 500)) {
		t.Error("the same probes, learnt again, made a client a probe")
	}
	s.learn([]Probe{{Port: 8080, Period: 2 * time.Second}})
	if !s.claim(8080, origin{node: true}, at(start, 600)) {
		t.Error("other probes keep the old schedule")
	}
}
