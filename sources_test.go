package main

import (
	"slices"
	"strings"
	"testing"

	"lull/kube"
	"lull/wait"
)

// told is a watcher that has one thing to say.
type told kube.View

func (t *told) View() (kube.View, <-chan struct{}) { return kube.View(*t), nil }

// TestClusterNarrowing looks at what is made of the user's Services and ports: a
// name that nothing knows must cost time, not requests.
func TestClusterNarrowing(t *testing.T) {
	view := kube.View{
		PodKnown: true, SlicesKnown: true,
		Services: []kube.Service{{Name: "web", InRotation: true, Ready: 2}},
		Ports:    []kube.Port{{Name: "http", Number: 8080}, {Name: "metrics", Number: 9090}},
	}
	unknown := view
	unknown.Services, unknown.Ports = nil, nil
	for name, tt := range map[string]struct {
		view     kube.View
		services []string
		ports    []port
		want     []uint16 // empty: every listening port
		refused  bool     // goes on as if there were no slices
	}{
		"all":                    {view: view, want: []uint16{8080, 9090}},
		"a number":               {view: view, ports: []port{{number: 7000}}, want: []uint16{7000}},
		"a name":                 {view: view, ports: []port{{name: "http"}}, want: []uint16{8080}},
		"a number and a name":    {view: view, ports: []port{{number: 7000}, {name: "metrics"}}, want: []uint16{7000, 9090}},
		"an unknown name":        {view: view, ports: []port{{number: 7000}, {name: "htpt"}}},
		"a Service":              {view: view, services: []string{"web"}, want: []uint16{8080, 9090}},
		"an unknown Service":     {view: unknown, services: []string{"wbe"}, refused: true},
		"no Service names it":    {view: unknown},
		"the slices are unknown": {view: kube.View{PodKnown: true}, services: []string{"web"}},
	} {
		t.Run(name, func(t *testing.T) {
			says := told(tt.view)
			c := &cluster{watcher: &says, services: tt.services, ports: tt.ports}
			got, _ := c.View()
			if !slices.Equal(got.Ports, tt.want) {
				t.Errorf("ports %v, want %v", got.Ports, tt.want)
			}
			if got.SlicesRefused != tt.refused || got.SlicesKnown != (tt.view.SlicesKnown && !tt.refused) {
				t.Errorf("slices known %v, refused %v: %v", got.SlicesKnown, got.SlicesRefused, got.Err)
			}
			if tt.refused && (got.Err == nil || !strings.Contains(got.Err.Error(), "check --service")) {
				t.Errorf("error %v does not say what to change", got.Err)
			}
		})
	}
}

// TestServiceThatIsDeleted: it was no typo, so the pod has left it.
func TestServiceThatIsDeleted(t *testing.T) {
	says := told{SlicesKnown: true, Services: []kube.Service{{Name: "web", InRotation: true}}}
	c := &cluster{watcher: &says, services: []string{"web"}}
	if v, _ := c.View(); !slices.Equal(v.Services, []wait.Service{{Name: "web", InRotation: true}}) {
		t.Fatalf("services %v", v.Services)
	}
	says.Services = nil
	if v, _ := c.View(); !v.SlicesKnown || v.Refused || len(v.Services) != 0 {
		t.Errorf("known %v, refused %v, services %v", v.SlicesKnown, v.Refused, v.Services)
	}
}
