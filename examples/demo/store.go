package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// store keeps the objects of one run and everything that ever happened to
// them: a run makes a handful of changes, so that a watch can begin at any
// version and is never too old. Nothing is removed: a deleted pod stays until
// its containers are dead, and then the run is over.
type store struct {
	mu      sync.Mutex
	objects map[key]change
	log     []change      // the n-th has the version n+1
	more    chan struct{} // closed at the next change
}

type key struct{ resource, name string }

// change is an object at a version.
type change struct {
	resource, kind  string // kind of the change: ADDED or MODIFIED
	namespace, name string
	labels          map[string]string // never change
	version         int64
	at              time.Time
	body            json.RawMessage
}

func newStore() *store {
	return &store{objects: map[key]change{}, more: make(chan struct{})}
}

// put adds the object, or replaces it.
func (s *store) put(resource string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := o.meta()
	c := change{
		resource: resource, kind: "ADDED", namespace: m.Namespace, name: m.Name, labels: m.Labels,
		version: int64(len(s.log)) + 1, at: time.Now(),
	}
	at := key{resource, m.Namespace + "/" + m.Name}
	if _, ok := s.objects[at]; ok {
		c.kind = "MODIFIED"
	}
	m.ResourceVersion = strconv.FormatInt(c.version, 10)
	body, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings, numbers and times: not possible
	}
	c.body = body
	s.objects[at] = c
	s.log = append(s.log, c)
	close(s.more)
	s.more = make(chan struct{})
}

// list returns the resource's objects by name, and the version that they are of.
func (s *store) list(resource string) ([]change, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var items []change
	for _, k := range slices.SortedFunc(maps.Keys(s.objects), func(a, b key) int { return strings.Compare(a.name, b.name) }) {
		if k.resource == resource {
			items = append(items, s.objects[k])
		}
	}
	return items, int64(len(s.log))
}

// since returns the changes after a version that was, and a channel that is
// closed when there are more.
func (s *store) since(version int64) ([]change, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log[version:]), s.more
}
