package wait_test

import (
	"slices"
	"strings"
	"testing"

	"lull/wait"
)

// TestAsked looks at what is made of the user's Services and ports: a name that nothing knows must
// cost time, not requests.
func TestAsked(t *testing.T) {
	view := wait.View{
		PodKnown: true, SlicesKnown: true,
		Services: []wait.Service{{Name: "web", InRotation: true, Ready: 2}},
		Named:    []string{"web"},
		Ports:    []wait.Port{{Name: "http", Number: 8080}, {Name: "metrics", Number: 9090}},
	}
	unknown := view
	unknown.Services, unknown.Ports, unknown.Named = nil, nil, nil
	deleted := view
	deleted.Services = nil
	for name, tt := range map[string]struct {
		view     wait.View
		services []string
		ports    []wait.Port
		want     []uint16 // empty: every listening port
		refused  bool     // goes on as if there were no slices
	}{
		"all":                                     {view: view, want: []uint16{8080, 9090}},
		"a number":                                {view: view, ports: []wait.Port{{Number: 7000}}, want: []uint16{7000}},
		"a name":                                  {view: view, ports: []wait.Port{{Name: "http"}}, want: []uint16{8080}},
		"a number and a name":                     {view: view, ports: []wait.Port{{Number: 7000}, {Name: "metrics"}}, want: []uint16{7000, 9090}},
		"an unknown name":                         {view: view, ports: []wait.Port{{Number: 7000}, {Name: "htpt"}}},
		"a Service":                               {view: view, services: []string{"web"}, want: []uint16{8080, 9090}},
		"an unknown Service":                      {view: unknown, services: []string{"wbe"}, refused: true},
		"a Service that has been deleted":         {view: deleted, services: []string{"web"}, want: []uint16{8080, 9090}},
		"no Service names it":                     {view: unknown},
		"one unknown Service of two":              {view: view, services: []string{"web", "apii"}, refused: true},
		"no Service names it, and it declares":    {view: declares(unknown, false), want: []uint16{8080}},
		"a Service names it, and it declares":     {view: declares(view, false), want: []uint16{8080, 9090}},
		"refused, and it declares":                {view: declares(wait.View{PodKnown: true}, false)},
		"refused, it declares on the host":        {view: declares(wait.View{PodKnown: true}, true), want: []uint16{8080}},
		"the slices are unknown":                  {view: wait.View{PodKnown: true}, services: []string{"web"}},
		"the slices are unknown, a number":        {view: wait.View{PodKnown: true}, ports: []wait.Port{{Number: 7000}}, want: []uint16{7000}},
		"the slices are unknown, number and name": {view: wait.View{PodKnown: true}, ports: []wait.Port{{Number: 7000}, {Name: "http"}}},
	} {
		t.Run(name, func(t *testing.T) {
			policy := wait.Policy{Services: tt.services, Ports: tt.ports}
			got := policy.Narrow(tt.view)
			if ports := policy.Watched(got); !slices.Equal(ports, tt.want) {
				t.Errorf("ports %v, want %v", ports, tt.want)
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

func declares(v wait.View, hostNetwork bool) wait.View {
	v.Declared, v.HostNetwork = []uint16{8080}, hostNetwork
	return v
}
