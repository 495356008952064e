package kube_test

import (
	"testing"
	"time"

	"lull/kube"
)

// The API server stops (SIGSTOP), or its host vanishes, in the middle of open watches; then it goes
// on, or another takes its place.
func TestWatcherNoticesSilence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		protos []string
	}{{"HTTP2", nil}, {"HTTP1", []string{"http/1.1"}}} {
		t.Run(tt.name, func(t *testing.T) {
			long(t, "seconds of silence")
			t.Parallel()
			s, flip := rotating(t)
			wire := newWire(t, s.Listener.Addr().String())
			cfg := s.Config()
			cfg.Host = "https://" + wire.Addr().String()
			cfg.NextProtos = tt.protos
			w := watching(t, cfg, me, kube.Options{})
			await(t, w, "known", known)
			eventually(t, "a watch", func() bool { return s.Open() == 1 })

			wire.Freeze(true)
			flip(false)
			v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
			if v.Refused {
				t.Errorf("refused: %v", v.Err)
			}
			if !v.Services[0].InRotation {
				t.Error("out of rotation without a word from the server")
			}
			if v.Asked.Before(v.Contact) || time.Since(v.Asked) < time.Second {
				t.Errorf("asked %v ago, last contact %v ago", time.Since(v.Asked), time.Since(v.Contact))
			}
			if tt.protos == nil { // one connection for all, found dead by pings
				before := wire.Connections()
				eventually(t, "dialled again", func() bool { return wire.Connections() > before })
			}
			wire.Freeze(false)
			v = await(t, w, "back", func(v kube.View) bool {
				return inRotation(false)(v) && v.Err == nil && time.Since(v.Contact) < 2*time.Second && v.Asked.IsZero()
			})
		})
	}
}

// From the first byte on nothing answers; later something does.
func TestWatcherSurvivesAServerThatHangs(t *testing.T) {
	long(t, "seconds of silence")
	t.Parallel()
	s, _ := rotating(t)
	wire := newWire(t, s.Listener.Addr().String())
	wire.Freeze(true)
	cfg := s.Config()
	cfg.Host = "https://" + wire.Addr().String()
	w := watching(t, cfg, me, kube.Options{})
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	if v.Refused || known(v) || !v.Contact.IsZero() {
		t.Errorf("%+v", v)
	}
	wire.Freeze(false)
	await(t, w, "known", func(v kube.View) bool { return known(v) && v.Err == nil })
}
