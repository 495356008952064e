package kube_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"lull/kube"
)

func (s *apiServer) serveWatch(w http.ResponseWriter, r *http.Request, resource string) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, "")
		return
	}
	s.mu.Lock()
	gone, asEvent := from < s.expired, s.goneEvent
	epoch := s.epoch
	s.mu.Unlock()
	if gone && !asEvent {
		s.refuse(w, r, http.StatusGone, "")
		return
	}
	out := s.newStream(w, r)
	if gone {
		out.send(watch.Error, &metav1.Status{Status: "Failure", Code: 410, Reason: metav1.StatusReasonExpired, Message: "too old resource version"})
		return
	}
	defer context.AfterFunc(r.Context(), func() { s.do(func() {}) })()
	s.do(func() { s.watchesOpen++ })
	defer s.do(func() { s.watchesOpen-- })
	for {
		event, ok := s.next(r, resource, &from, epoch)
		if !ok {
			s.mu.Lock()
			half := s.halfEvent
			s.mu.Unlock()
			if half {
				out.half()
				panic(http.ErrAbortHandler)
			}
			return
		}
		out.send(event.kind, event.obj)
	}
}

// next waits for a change after version from that the request wants to see.
func (s *apiServer) next(r *http.Request, resource string, from *int, epoch int) (change, bool) {
	match := matching(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if r.Context().Err() != nil || s.epoch != epoch {
			return change{}, false
		}
		for _, c := range s.history {
			if c.version <= *from || c.resource != resource {
				continue
			}
			*from = c.version
			if c.kind == watch.Bookmark || match(c.obj) {
				return c, true
			}
		}
		s.changed.Wait()
	}
}

// stream writes watch events as the API server does: framed and with the
// object encoded by itself.
type stream struct {
	s     *apiServer
	info  runtime.SerializerInfo
	w     http.ResponseWriter
	frame io.Writer
}

func (s *apiServer) newStream(w http.ResponseWriter, r *http.Request) *stream {
	info := s.serializer(r)
	kind := info.MediaType
	if strings.Contains(kind, "protobuf") {
		kind += ";stream=watch"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	return &stream{s, info, w, info.StreamSerializer.Framer.NewFrameWriter(w)}
}

func (o *stream) encode(kind watch.EventType, obj runtime.Object) []byte {
	var inner, outer bytes.Buffer
	if err := o.s.encode(o.info, obj, &inner); err != nil {
		panic(err)
	}
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: inner.Bytes()}}
	if err := o.info.StreamSerializer.Serializer.Encode(event, &outer); err != nil {
		panic(err)
	}
	return outer.Bytes()
}

func (o *stream) send(kind watch.EventType, obj runtime.Object) {
	o.frame.Write(o.encode(kind, obj))
	o.w.(http.Flusher).Flush()
}

func (o *stream) half() {
	var frame bytes.Buffer
	whole := &stream{o.s, o.info, o.w, o.info.StreamSerializer.Framer.NewFrameWriter(&frame)}
	whole.frame.Write(o.encode(watch.Modified, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "half"}}))
	o.w.Write(frame.Bytes()[:frame.Len()/2])
	o.w.(http.Flusher).Flush()
}

// The server itself, from many at once: what it stores it only reads.
func TestAPIServerAnswersManyAtOnce(t *testing.T) {
	t.Parallel()
	s, flip := rotating(t)
	var watchers []*kube.Watcher
	for range 16 {
		watchers = append(watchers, watching(t, s.config(), me, kube.Options{}))
	}
	eventually(t, "all watches", func() bool { return s.open() == 2*len(watchers) })
	flip(false)
	for _, w := range watchers {
		await(t, w, "out of rotation", inRotation(false))
	}
}

// wire carries connections to a server. Frozen, it accepts them and moves no
// byte, as a process that is stopped or a host that has vanished does.
type wire struct {
	net.Listener
	mu     sync.Mutex
	thawed *sync.Cond
	frozen bool
	ended  bool
	conns  map[net.Conn]bool
	count  int
}

func newWire(t *testing.T, target string) *wire {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: ln, conns: map[net.Conn]bool{}}
	w.thawed = sync.NewCond(&w.mu)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			w.mu.Lock()
			w.count++
			w.conns[near], w.conns[far] = true, true
			w.mu.Unlock()
			all.Go(func() { w.carry(near, far) })
			all.Go(func() { w.carry(far, near) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		w.drop()
		w.freeze(false)
		all.Wait()
	})
	return w
}

func (w *wire) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		w.mu.Lock()
		for w.frozen && !w.ended {
			w.thawed.Wait()
		}
		w.mu.Unlock()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *wire) freeze(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frozen = on
	w.thawed.Broadcast()
}

// drop closes all connections.
func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
	w.conns = map[net.Conn]bool{}
}

func (w *wire) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}
