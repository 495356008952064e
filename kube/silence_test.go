package kube_test

import (
	"testing"
	"time"

	"lull/kube"
)

// The API server stops (SIGSTOP), or its host vanishes, in the middle of open
// watches; then it goes on, or another takes its place.
func TestWatcherNoticesSilence(t *testing.T) {
	for _, tt := range []struct {
		name   string
		protos []string
	}{{"HTTP2", nil}, {"HTTP1", []string{"http/1.1"}}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, flip := rotating(t)
			wire := newWire(t, s.Listener.Addr().String())
			cfg := s.config()
			cfg.Host = "https://" + wire.Addr().String()
			cfg.NextProtos = tt.protos
			w := watching(t, cfg, me, kube.Options{})
			await(t, w, "known", known)
			eventually(t, "two watches", func() bool { return s.open() == 2 })

			wire.freeze(true)
			flip(false)
			v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
			if v.Refused {
				t.Errorf("refused: %v", v.Err)
			}
			if !v.Services[0].InRotation {
				t.Error("out of rotation without a word from the server")
			}
			if tt.protos == nil { // one connection for all, found dead by pings
				before := wire.connections()
				eventually(t, "dialled again", func() bool { return wire.connections() > before })
			}
			wire.freeze(false)
			v = await(t, w, "back", func(v kube.View) bool {
				return inRotation(false)(v) && v.Err == nil && time.Since(v.Contact) < 2*time.Second
			})
		})
	}
}

// From the first byte on nothing answers; later something does.
func TestWatcherSurvivesAServerThatHangs(t *testing.T) {
	t.Parallel()
	s, _ := rotating(t)
	wire := newWire(t, s.Listener.Addr().String())
	wire.freeze(true)
	cfg := s.config()
	cfg.Host = "https://" + wire.Addr().String()
	w := watching(t, cfg, me, kube.Options{})
	v := await(t, w, "failing", func(v kube.View) bool { return v.Err != nil })
	if v.Refused || v.Known || !v.Contact.IsZero() {
		t.Errorf("%+v", v)
	}
	wire.freeze(false)
	await(t, w, "known", func(v kube.View) bool { return v.Known && v.Err == nil })
}
