package apiserver

import "net/http"

// counted counts what is written.
type counted struct {
	http.ResponseWriter
	s *Server
}

func (c counted) Write(p []byte) (int, error) {
	c.s.mu.Lock()
	c.s.sent += len(p)
	c.s.mu.Unlock()
	return c.ResponseWriter.Write(p)
}

func (c counted) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

// Load is how many requests there were so far, and the bytes of all answers.
func (s *Server) Load() (requests, sent int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.Requests), s.sent
}

// Asked counts the requests so far of a verb on a resource.
func (s *Server) Asked(verb, resource string) int {
	return len(s.Queries(verb, resource))
}

// Queries are the parameters of the requests so far.
func (s *Server) Queries(verb, resource string) (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.Requests {
		if v, res, name := parse(r); v == verb && (res == resource || res+"/"+name == resource) {
			all = append(all, r.URL.Query().Get("labelSelector")+r.URL.Query().Get("fieldSelector"))
		}
	}
	return all
}
