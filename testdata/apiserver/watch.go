package apiserver

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request, resource string) {
	from, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, "")
		return
	}
	s.mu.Lock()
	gone, asEvent := from < s.expired, s.GoneEvent
	epoch, flood := s.Epoch, s.Flood
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
	if flood > 0 {
		s.flood(out, r, resource, flood)
		return
	}
	defer context.AfterFunc(r.Context(), func() { s.Do(func() {}) })()
	s.Do(func() { s.watchesOpen++ })
	defer s.Do(func() { s.watchesOpen-- })
	for {
		event, ok := s.next(r, resource, &from, epoch)
		if !ok {
			s.mu.Lock()
			half := s.HalfEvent
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
func (s *Server) next(r *http.Request, resource string, from *int, epoch int) (change, bool) {
	match := matching(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if r.Context().Err() != nil || s.Epoch != epoch {
			return change{}, false
		}
		for _, c := range s.history {
			if c.version <= *from || c.version > s.at(resource) || c.resource != resource {
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

// stream writes watch events as the API server does: framed and with the object encoded by itself.
type stream struct {
	s     *Server
	info  runtime.SerializerInfo
	w     http.ResponseWriter
	frame io.Writer
}

func (s *Server) newStream(w http.ResponseWriter, r *http.Request) *stream {
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

// Open is how many watches are open now.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watchesOpen
}
