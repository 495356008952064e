package main

import (
	"net/url"
	"testing"
)

func TestSelector(t *testing.T) {
	c := change{namespace: "default", name: "web-a", labels: map[string]string{"app": "web", "tier": "front"}}
	for _, test := range []struct {
		labels, fields string
		want, wrong    bool
	}{
		{"", "", true, false},
		{"app=web", "", true, false},
		{"app==web,tier=front", "", true, false},
		{"app=api", "", false, false},
		{"app in (api, web),tier in (front)", "", true, false},
		{"app in (api),tier in (front)", "", false, false},
		{"zone in (a)", "", false, false},
		{"", "metadata.name=web-a", true, false},
		{"", "metadata.name=web-b", false, false},
		{"app=web", "metadata.name=web-b", false, false},
		{"app", "", false, true},
		{"!app", "", false, true},
		{"app!=web", "", false, true},
		{"app notin (web)", "", false, true},
		{"app in web", "", false, true},
		{"", "status.phase=Running", false, true},
		{"", "metadata.name!=web-a", false, true},
	} {
		s, err := parseSelector("default", url.Values{"labelSelector": {test.labels}, "fieldSelector": {test.fields}})
		if (err != nil) != test.wrong {
			t.Errorf("%q %q: error %v", test.labels, test.fields, err)
			continue
		}
		if err == nil && s.matches(c) != test.want {
			t.Errorf("%q %q: %v, want %v", test.labels, test.fields, !test.want, test.want)
		}
	}
	if s, _ := parseSelector("other", nil); s.matches(c) {
		t.Error("the namespace does not count")
	}
}
