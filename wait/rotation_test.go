package wait

import (
	"slices"
	"testing"
	"time"
)

// seen is a view and what must follow from it.
type seen struct {
	at      time.Duration // since the hook began
	view    View
	stage   Stage
	changes []happening
}

func TestRotation(t *testing.T) {
	start := time.Now()
	at := start.Add
	service := func(s Service) View {
		s.Name = "web"
		return View{SlicesKnown: true, PodKnown: true, Deleting: true, Services: []Service{s}}
	}
	in := service(Service{InRotation: true, Ready: 1})
	out := service(Service{Serving: true, Ready: 1})
	alone := service(Service{Serving: true, Coming: 1})
	undeleted := func(v View) View { v.Deleting = false; return v }
	refused := View{SlicesRefused: true}
	for name, tt := range map[string]struct {
		handover HandoverMode
		seen     []seen
		left     time.Duration // negative: not set
		handed   time.Duration
	}{
		"out at once": {seen: []seen{
			{10, in, Removal, nil}, {20, out, Lull, []happening{rotationLeft}},
		}, left: 20, handed: 20},
		"in rotation": {seen: []seen{{10, in, Removal, nil}, {time.Second, in, Removal, nil}}, left: -1, handed: -1},
		"handed over": {seen: []seen{
			{10, alone, Handover, []happening{rotationLeft, handoverBegun}}, {500, alone, Handover, nil}, {900, out, Lull, []happening{handoverEnded}},
		}, left: 10, handed: 900},
		"never handed over": {handover: HandoverNever, seen: []seen{{10, alone, Lull, []happening{rotationLeft, aloneBegun}}}, left: 10, handed: 10},
		"the replacement dies": {seen: []seen{
			{10, out, Lull, []happening{rotationLeft}}, {50, alone, Handover, []happening{handoverBegun}}, {90, out, Lull, []happening{handoverEnded}},
		}, left: 10, handed: 90},
		"back in rotation": {seen: []seen{
			{10, out, Lull, []happening{rotationLeft}}, {50, in, Removal, []happening{rotationBack}}, {90, out, Lull, []happening{rotationLeft}},
		}, left: 90, handed: 90},
		"refused": {seen: []seen{{10, refused, Lull, []happening{apiLost}}, {20, refused, Lull, nil}}, left: 0, handed: 0},
		"refused at first": {seen: []seen{
			{10, refused, Lull, []happening{apiLost}}, {20, in, Removal, []happening{apiBack}}, {30, out, Lull, []happening{rotationLeft}},
		}, left: 30, handed: 30},
		"never heard of": {seen: []seen{
			{patience - 1, View{}, Removal, nil}, {patience, View{}, Lull, []happening{apiLost}},
		}, left: 0, handed: 0},
		"pages of slices arrive": {seen: []seen{
			{patience, View{SlicesContact: at(5 * time.Second)}, Removal, nil}, {15 * time.Second, View{SlicesContact: at(5 * time.Second)}, Lull, []happening{apiLost}},
		}, left: 0, handed: 0},
		"the pod is answered for, and no slices": {seen: []seen{
			{patience, View{PodKnown: true, Contact: at(9 * time.Second)}, Lull, []happening{apiLost}},
		}, left: 0, handed: 0},
		"silent in the handover": {seen: []seen{
			{10, alone, Handover, []happening{rotationLeft, handoverBegun}}, {10 + patience, contactAt(alone, at(10)), Lull, []happening{apiLost}},
			{20 + patience, alone, Handover, []happening{apiBack, handoverBegun}},
		}, left: 10, handed: -1},
		"silent in the lull": {seen: []seen{
			{10, out, Lull, []happening{rotationLeft}}, {10 + patience, contactAt(out, at(10)), Lull, nil},
		}, left: 10, handed: 10},
		"not deleted": {seen: []seen{
			{10, undeleted(in), Removal, nil}, {10 + settleAfter, undeleted(in), Removal, nil},
		}, left: -1, handed: -1},
		"not deleted, out of one Service and in rotation in another": {seen: []seen{
			{10, undeleted(in), Removal, nil},
			{10 + settleAfter, undeleted(both(in)), Lull, []happening{rotationLeft}},
		}, left: 10 + settleAfter, handed: 10 + settleAfter},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.handover == "" {
				tt.handover = HandoverAuto
			}
			r := newRotation(tt.handover, start)
			r.mustKnow = at(time.Minute)
			for _, s := range tt.seen {
				v := s.view
				if v.Contact.IsZero() && v.SlicesKnown {
					v.Contact = at(s.at)
				}
				var what []happening
				for _, c := range r.see(v, at(s.at)) {
					what = append(what, c.what)
				}
				if r.stage != s.stage || !slices.Equal(what, s.changes) {
					t.Errorf("after %v: stage %v and %v, want %v and %v", s.at, r.stage, what, s.stage, s.changes)
				}
			}
			since := func(t time.Time) time.Duration {
				if t.IsZero() {
					return -1
				}
				return t.Sub(start)
			}
			if since(r.left) != tt.left || since(r.handed) != tt.handed {
				t.Errorf("left after %v, handed over after %v, want %v and %v", since(r.left), since(r.handed), tt.left, tt.handed)
			}
		})
	}
}

func contactAt(v View, t time.Time) View {
	v.Contact = t
	return v
}

// both adds a Service that the pod has left.
func both(v View) View {
	v.Services = append(slices.Clone(v.Services), Service{Name: "api"})
	return v
}

func TestDoubt(t *testing.T) {
	start := time.Now()
	rotating := View{Services: []Service{{InRotation: true}}}
	ended := rotating
	ended.Ended = "Failed: DeadlineExceeded"
	for name, tt := range map[string]struct {
		undeleted bool
		view      View
		contact   time.Duration
		now       time.Duration
		want      settlement
	}{
		"stays":                            {true, rotating, settleAfter, settleAfter, confirmed},
		"too soon":                         {true, rotating, settleAfter - 1, settleAfter - 1, unsettled},
		"no word since":                    {true, rotating, settleAfter/2 - 1, time.Minute, unsettled},
		"a word in the second half":        {true, rotating, settleAfter / 2, settleAfter, confirmed},
		"being deleted":                    {false, rotating, settleAfter, settleAfter, unsettled},
		"ended":                            {true, ended, settleAfter, settleAfter, contradicted},
		"out of rotation by one of two":    {true, both(rotating), settleAfter, settleAfter, contradicted},
		"out of rotation, told of at once": {true, both(rotating), 0, 0, unsettled},
	} {
		t.Run(name, func(t *testing.T) {
			var d doubt
			d.record(true, start)
			d.record(tt.undeleted, start.Add(1))
			tt.view.Contact = start.Add(tt.contact)
			if got := d.settle(tt.view, start.Add(tt.now)); got != tt.want {
				t.Errorf("settled as %v, want %v", got, tt.want)
			}
			again, ok := d.again(start.Add(tt.now))
			if ok != tt.undeleted || ok && !again.After(start.Add(tt.now)) {
				t.Errorf("asked again at %v, %v", again.Sub(start), ok)
			}
		})
	}
}

// TestSilenceWithinASecond: what the story would have told of the removal is no longer due once the
// stages go on without the control plane, whatever it said last.
func TestSilenceWithinASecond(t *testing.T) {
	start := time.Now()
	in := View{SlicesKnown: true, PodKnown: true, Deleting: true, Contact: start, Services: []Service{{Name: "web", InRotation: true}}}
	r := newRotation(HandoverAuto, start)
	r.see(in, start.Add(patience-longRemoval/2))
	r.see(in, start.Add(patience))
	if at, ok := r.long(); r.stage != Lull || ok {
		t.Errorf("stage %v, and something to be told after %v", r.stage, at.at.Sub(start))
	}
}

// TestRotationAfterAStop: a process that did not run for a while has not heard the control plane,
// and gives it a moment.
func TestRotationAfterAStop(t *testing.T) {
	start := time.Now()
	in := View{SlicesKnown: true, PodKnown: true, Deleting: true, Contact: start, Services: []Service{{Name: "web", InRotation: true}}}
	r := newRotation(HandoverAuto, start)
	r.see(in, start)
	woken := start.Add(patience + 5*time.Second)
	r.grant(woken, in.Contact)
	if changes := r.see(in, woken); len(changes) != 1 || changes[0].what != rotationLong || r.stage != Removal {
		t.Errorf("right after it: %v, stage %v", changes, r.stage)
	}
	if at := r.silentAt(in); at != woken.Add(answerTime) {
		t.Errorf("goes on without the control plane %v after it", at.Sub(woken))
	}
	r.grant(woken.Add(time.Second), in.Contact)
	if r.see(in, woken.Add(answerTime)); r.stage != Lull || !r.apiSilent {
		t.Errorf("never goes on without it: stage %v", r.stage)
	}
}
