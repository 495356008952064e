package apiserver

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Version is the newest, for AsOf.
func (s *Server) Version() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// at is the version at which a resource is served.
func (s *Server) at(resource string) int {
	if v, stale := s.AsOf[resource]; stale {
		return v
	}
	return s.version
}

// stored returns the objects of a resource as they are served, by "resource/name".
func (s *Server) stored(resource string) map[string]runtime.Object {
	if _, stale := s.AsOf[resource]; !stale {
		return s.objects
	}
	old := map[string]runtime.Object{}
	for _, c := range s.history {
		if c.resource != resource || c.version > s.at(resource) || c.kind == watch.Bookmark {
			continue
		}
		m, _ := meta.Accessor(c.obj)
		if old[resource+"/"+m.GetName()] = c.obj; c.kind == watch.Deleted {
			delete(old, resource+"/"+m.GetName())
		}
	}
	return old
}

// listed returns what a list shows, by name.
func (s *Server) listed(resource string, match func(runtime.Object) bool) (items []runtime.Object) {
	stored := s.stored(resource)
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		if obj := stored[key]; resourceOf(obj) == resource && match(obj) {
			items = append(items, obj)
		}
	}
	return items
}
