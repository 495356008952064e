package apiserver

import (
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
)

// serveCreate takes in an Event, checking of it what an API server does.
func (s *Server) serveCreate(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	e := &corev1.Event{}
	if err == nil {
		_, _, err = s.codecs.UniversalDeserializer().Decode(body, nil, e)
	}
	if err != nil || validation.NameIsDNSSubdomain(e.Name, false) != nil || e.Namespace != e.InvolvedObject.Namespace {
		s.refuse(w, r, http.StatusUnprocessableEntity, "")
		return
	}
	s.Do(func() { s.created = append(s.created, e) })
	s.answer(w, r, http.StatusCreated, e)
}

// Events are those that were created.
func (s *Server) Events() []*corev1.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.created
}
