package procnet

import (
	"slices"
	"testing"
	"time"
)

func TestUnexplained(t *testing.T) {
	const s = time.Second
	closed := func(at time.Duration) firstSight { return firstSight{closed: true, at: at} }
	for name, tt := range map[string]struct {
		grown  []opening
		sights []firstSight
		more   int // on the ports, beyond those
		others int
		want   []opening
	}{
		"none":                         {},
		"all of unknown peer":          {grown: []opening{{1 * s, 1}, {2 * s, 3}}, want: []opening{{1 * s, 1}, {2 * s, 3}}},
		"each by its close":            {grown: []opening{{1 * s, 1}, {2 * s, 1}, {3 * s, 1}}, sights: []firstSight{closed(3020 * time.Millisecond), closed(1950 * time.Millisecond)}, want: []opening{{1 * s, 1}}},
		"one that lived long":          {grown: []opening{{1 * s, 1}, {2 * s, 1}}, sights: []firstSight{closed(5 * s)}, want: []opening{{1 * s, 1}}},
		"undated are the oldest":       {grown: []opening{{1 * s, 1}, {2 * s, 1}, {3 * s, 1}}, sights: []firstSight{{}}, others: 1, want: []opening{{3 * s, 1}}},
		"no room to tell apart":        {grown: []opening{{1 * s, 9}}, more: 5, want: []opening{{1 * s, 4}}},
		"closed before any was opened": {grown: []opening{{4 * s, 2}}, sights: []firstSight{closed(1 * s)}, want: []opening{{4 * s, 1}}},
		"the tables show more":         {grown: []opening{{1 * s, 1}}, others: 3},
	} {
		t.Run(name, func(t *testing.T) {
			v := &pass{sights: tt.sights, mine: len(tt.sights) + tt.more, others: tt.others}
			if got := v.unexplained(tt.grown); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestOpeningLog(t *testing.T) {
	var l openingLog
	for i := range maxOpenings + 10 {
		l.add(time.Duration(i)*time.Second, uint64(100+2*i))
	}
	if len(l.list) != maxOpenings {
		t.Fatalf("%d entries, want %d", len(l.list), maxOpenings)
	}
	// What found no room is counted in the newest.
	sum := uint64(0)
	for _, o := range l.between(100, 1<<40) {
		sum += o.n
	}
	if want := uint64(2 * (maxOpenings + 9)); sum != want {
		t.Errorf("%d connections, want %d", sum, want)
	}
	if got, want := l.between(104, 108), []opening{{3 * time.Second, 2}, {4 * time.Second, 2}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if l.list[0].n != 106 {
		t.Errorf("the log begins at %d, want what is after 104", l.list[0].n)
	}
}
