package kube

import "time"

// Facts are what a Watcher knows of its pod beyond what it shows.
type Facts struct {
	Name, UID string
	Gone      bool
	SpecGrace time.Duration
}

func (w *Watcher) Facts() Facts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return Facts{w.know.pod.name, w.know.pod.uid, w.know.gone, w.know.pod.specGrace}
}
