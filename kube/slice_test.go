package kube

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func at[T any](v T) *T { return &v }

// ep is an endpoint; conditions are ready, serving, terminating: 'y', 'n', or '-' for unset.
func ep(uid, addr, conditions string) discoveryv1.Endpoint {
	is := map[byte]*bool{'y': at(true), 'n': at(false)}
	e := discoveryv1.Endpoint{Addresses: []string{addr}, Conditions: discoveryv1.EndpointConditions{
		Ready: is[conditions[0]], Serving: is[conditions[1]], Terminating: is[conditions[2]],
	}}
	if uid != "" {
		e.TargetRef = &corev1.ObjectReference{Kind: "Pod", UID: types.UID(uid)}
	}
	return e
}

// es is a slice of the Service web, as the endpoint controller makes them.
func es(family discoveryv1.AddressType, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{
			discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
		}},
		AddressType: family, Endpoints: endpoints,
	}
}

// by is a slice of the Service web that somebody else has made.
func by(manager string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := es(v4, endpoints...)
	s.Labels[discoveryv1.LabelManagedBy] = manager
	if manager == "" {
		delete(s.Labels, discoveryv1.LabelManagedBy)
	}
	return s
}

// of is an endpoint of something that is not a pod.
func of(kind, addr string) discoveryv1.Endpoint {
	e := ep(a, addr, "yyn")
	e.TargetRef.Kind = kind
	return e
}

const (
	v4   = discoveryv1.AddressTypeIPv4
	v6   = discoveryv1.AddressTypeIPv6
	mine = "11111111-1111-1111-1111-111111111111"
	a    = "22222222-2222-2222-2222-222222222222"
	b    = "33333333-3333-3333-3333-333333333333"
	my4  = "10.0.0.7"
	my6  = "fd00::7"
)

// read are the traffic policies of a Service that has been read, and has none.
var read = map[string]bool{"web": false}

func TestService(t *testing.T) {
	for _, tt := range []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   Service
	}{
		{"ready", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "yyn"))}, Service{InRotation: true, Serving: true}},
		{"terminating", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "nyy"))}, Service{Serving: true}},
		{"terminating, readiness failing", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "nny"))}, Service{}},
		{"readiness failing", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "nnn"))}, Service{}},
		{"publishNotReadyAddresses", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "yyy"))}, Service{AlwaysReady: true, Serving: true}},
		{"published and in rotation elsewhere", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "yyy")), es(v6, ep(mine, my6, "yyn"))},
			Service{InRotation: true, AlwaysReady: true, Serving: true}},
		{"all conditions unknown", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "---"))}, Service{InRotation: true, Serving: true}},
		{"serving unknown counts as true", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "n-y"))}, Service{Serving: true}},
		{"only serving known", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "-nn"))}, Service{InRotation: true}},

		{"dual stack, one family late", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "nyy")), es(v6, ep(mine, my6, "yyn"))},
			Service{InRotation: true, Serving: true}},
		{"by address where no pod is named", []*discoveryv1.EndpointSlice{es(v4, ep("", my4, "yyn")), es(v6, ep("", my6, "nyy"))},
			Service{InRotation: true, Serving: true}},
		{"address in another spelling", []*discoveryv1.EndpointSlice{es(v6, ep("", "fd00:0:0::0:7", "yyn"))}, Service{InRotation: true, Serving: true}},
		{"our address, another pod (hostNetwork)", []*discoveryv1.EndpointSlice{es(v4, ep(a, my4, "yyn"))}, Service{Ready: 1}},
		{"FQDN is ignored", []*discoveryv1.EndpointSlice{es(discoveryv1.AddressTypeFQDN, ep(mine, "web.example.com", "yyn"), ep(a, my4, "yyn"))}, Service{}},

		{"others", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "nyy"), ep(a, "10.0.0.8", "yyn"), ep(b, "10.0.0.9", "nnn"))},
			Service{Serving: true, Ready: 1, Coming: 1}},
		{"others terminate", []*discoveryv1.EndpointSlice{es(v4, ep(a, "10.0.0.8", "nyy"), ep(b, "10.0.0.9", "yyy"))}, Service{}},
		{"others unknown", []*discoveryv1.EndpointSlice{es(v4, ep(a, "10.0.0.8", "---"))}, Service{Ready: 1}},
		{"others dual stack count once", []*discoveryv1.EndpointSlice{
			es(v4, ep(a, "10.0.0.8", "yyn"), ep(b, "10.0.0.9", "nnn")), es(v6, ep(a, "fd00::8", "yyn"), ep(b, "fd00::9", "nnn"))},
			Service{Ready: 1, Coming: 1}},
		{"other ready in one family only", []*discoveryv1.EndpointSlice{es(v4, ep(a, "10.0.0.8", "yyn")), es(v6, ep(a, "fd00::8", "nnn"))},
			Service{Coming: 1}},
		{"other terminates in one family, the other is late", []*discoveryv1.EndpointSlice{es(v4, ep(a, "10.0.0.8", "nyy")), es(v6, ep(a, "fd00::8", "yyn"))},
			Service{}},
		{"other published though not ready", []*discoveryv1.EndpointSlice{es(v4, ep(a, "10.0.0.8", "ynn"))}, Service{Coming: 1}},
		{"others without a pod, twice", []*discoveryv1.EndpointSlice{es(v4, ep("", "10.0.0.8", "yyn")), es(v4, ep("", "10.0.0.8", "yyn"), ep("", "10.0.0.9", "nnn"))},
			Service{Ready: 1, Coming: 1}},
		{"others without a pod, dual stack", []*discoveryv1.EndpointSlice{
			es(v4, ep("", "10.0.0.8", "yyn"), ep("", "10.0.0.9", "yyn")), es(v6, ep("", "fd00::8", "yyn"), ep("", "fd00::9", "yyn"))},
			Service{Ready: 2}},
		{"our address, a node (kubelet)", []*discoveryv1.EndpointSlice{es(v4, of("Node", my4))}, Service{Ready: 1}},
		{"our address and UID, no pod", []*discoveryv1.EndpointSlice{es(v4, discoveryv1.Endpoint{
			Addresses: []string{my4}, TargetRef: &corev1.ObjectReference{Kind: "VirtualMachine", UID: mine}})}, Service{Ready: 1}},
		{"kind unknown counts as a pod", []*discoveryv1.EndpointSlice{es(v4, discoveryv1.Endpoint{
			Addresses: []string{my4}, TargetRef: &corev1.ObjectReference{UID: mine}})}, Service{InRotation: true, Serving: true}},

		{"made by hand", []*discoveryv1.EndpointSlice{by("", ep(mine, my4, "yyn"))}, Service{InRotation: true, Serving: true, Unmanaged: true}},
		{"mirrored", []*discoveryv1.EndpointSlice{by("endpointslicemirroring-controller.k8s.io", ep("", my4, "y--"))},
			Service{InRotation: true, Serving: true, Unmanaged: true}},
		{"managed and by hand", []*discoveryv1.EndpointSlice{by("", ep(mine, my4, "yyn")), es(v4, ep(mine, my4, "yyn"))},
			Service{InRotation: true, Serving: true}},
		{"managed has let go, by hand has not", []*discoveryv1.EndpointSlice{by("", ep(mine, my4, "yyn")), es(v4, ep(mine, my4, "nyy"))},
			Service{InRotation: true, Serving: true, Unmanaged: true}},
		{"by hand, and has let go", []*discoveryv1.EndpointSlice{by("", ep(mine, my4, "nnn"))}, Service{}},
		{"by hand, of others", []*discoveryv1.EndpointSlice{es(v4, ep(mine, my4, "yyn")), by("", ep(a, "10.0.0.8", "yyn"))},
			Service{InRotation: true, Serving: true, Ready: 1}},

		{"endpoint of nothing", []*discoveryv1.EndpointSlice{{AddressType: v4, Endpoints: make([]discoveryv1.Endpoint, 3)}}, Service{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := whoami{uid: mine, addrs: []netip.Addr{netip.MustParseAddr(my4), netip.MustParseAddr(my6)}}
			var of []*slice
			for _, s := range tt.slices {
				if read, ok := readSlice(s); ok {
					of = append(of, &read)
				}
			}
			tt.want.Name = "web"
			if diff := cmp.Diff(tt.want, (&reading{who: who, policies: read}).service("web", of)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// on puts an endpoint on a node.
func on(node string, e discoveryv1.Endpoint) discoveryv1.Endpoint {
	e.NodeName = &node
	return e
}

// With a Local traffic policy only the node's own endpoints can take over. Whether there is one is
// not known before the Service has been read, and then everybody counts.
func TestServiceByTrafficPolicy(t *testing.T) {
	from := es(v4, on("here", ep(mine, my4, "nyy")), on("here", ep(a, "10.0.0.8", "nnn")), on("there", ep(b, "10.0.0.9", "yyn")),
		on("there", ep("", "10.0.0.10", "yyn")), ep("", "10.0.0.11", "yyn"))
	s, _ := readSlice(from)
	for _, tt := range []struct {
		name     string
		node     string
		policies map[string]bool
		want     Service
	}{
		{"not read", "here", nil, Service{Serving: true, Ready: 3, Coming: 1, LocalUnknown: true}},
		{"cluster", "here", map[string]bool{"web": false}, Service{Serving: true, Ready: 3, Coming: 1}},
		{"local", "here", map[string]bool{"web": true}, Service{Serving: true, Coming: 1, Local: true}},
		{"local, on the other node", "there", map[string]bool{"web": true}, Service{Serving: true, Ready: 2, Local: true}},
		{"local, node unknown", "", map[string]bool{"web": true}, Service{Serving: true, Ready: 3, Coming: 1, LocalUnknown: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Name = "web"
			r := &reading{who: whoami{uid: mine}, node: tt.node, policies: tt.policies}
			if diff := cmp.Diff(tt.want, r.service("web", []*slice{&s})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Nobody has to ask for what makes no difference.
func TestServiceOnOneNode(t *testing.T) {
	s, _ := readSlice(es(v4, on("here", ep(mine, my4, "nyy")), on("here", ep(a, "10.0.0.8", "yyn"))))
	got := (&reading{who: whoami{uid: mine}, node: "here"}).service("web", []*slice{&s})
	if diff := cmp.Diff(Service{Name: "web", Serving: true, Ready: 1}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The pod's node comes from the pod, or from the slices where pods cannot be read.
func TestNodeFromASlice(t *testing.T) {
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine}, nil)
	k.policies["web"] = true
	s := es(v4, on("here", ep(mine, my4, "nyy")), on("there", ep(b, "10.0.0.9", "yyn")))
	s.Name = "web-1"
	k.sawList(s)
	if got := k.view().Services; len(got) != 1 || !got[0].Local || got[0].Ready != 0 {
		t.Errorf("%+v", got)
	}
}

// Without a UID of our own the address must do, even where pods are named.
func TestServiceByAddressAlone(t *testing.T) {
	s, _ := readSlice(es(v4, ep(a, my4, "yyn"), ep(b, "10.0.0.9", "yyn")))
	got := (&reading{who: whoami{addrs: []netip.Addr{netip.MustParseAddr(my4)}}, policies: read}).service("web", []*slice{&s})
	if diff := cmp.Diff(Service{Name: "web", InRotation: true, Serving: true, Ready: 1}, got); diff != "" {
		t.Error(diff)
	}
}

// With hostNetwork the node's address is the pod's, and everybody's on the node: the Service
// kubernetes on a control plane's node, or another pod that is named without a UID.
func TestServiceWithHostNetwork(t *testing.T) {
	who := whoami{uid: mine, addrs: []netip.Addr{netip.MustParseAddr(my4)}, hostNetwork: true}
	s, _ := readSlice(es(v4, ep("", my4, "yyn"), ep(b, "10.0.0.9", "yyn")))
	if e := s.find(who); e != nil {
		t.Errorf("found by its address alone: %+v", e)
	}
	s, _ = readSlice(es(v4, ep("", my4, "yyn"), ep(mine, my4, "yyn")))
	got := (&reading{who: who, policies: read}).service("web", []*slice{&s})
	if diff := cmp.Diff(Service{Name: "web", InRotation: true, Serving: true, Ready: 1}, got); diff != "" {
		t.Error(diff)
	}
	if who = (whoami{addrs: who.addrs, hostNetwork: true}); who.known() {
		t.Error("known by the node's address")
	}
}

// As long as the pod has not been read, its address may be the node's without our knowing it.
func TestHostNetworkFoundOutLater(t *testing.T) {
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine, IPs: []netip.Addr{netip.MustParseAddr(my4)}}, nil)
	api, web := es(v4, ep("", my4, "yyn")), es(v4, ep(mine, my4, "yyn"))
	api.Name, web.Name = "kubernetes", "web"
	api.Labels[discoveryv1.LabelServiceName] = "kubernetes"
	api.Ports = []discoveryv1.EndpointPort{{Port: at(int32(6443))}}
	web.Ports = []discoveryv1.EndpointPort{{Port: at(int32(8080))}}
	k.sawList(api, web)
	if v := k.view(); len(v.Services) != 2 || len(v.Ports) != 2 {
		t.Errorf("by its address: %+v", v)
	}
	k.sawPod(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", UID: types.UID(mine)},
		Spec: corev1.PodSpec{HostNetwork: true}, Status: corev1.PodStatus{PodIP: my4}})
	if v := k.view(); !slices.Equal(v.Named, []string{"web"}) || !slices.Equal(v.Ports, []Port{{"", 8080}}) {
		t.Errorf("with hostNetwork: %+v", v)
	}
}

// What cannot be watched is told of the Services that name the pod, and so is that clients find it
// by its name's addresses.
func TestServiceUnwatchedAndHeadless(t *testing.T) {
	udp, sctp, tcp := corev1.ProtocolUDP, corev1.ProtocolSCTP, corev1.ProtocolTCP
	from := es(v4, ep(mine, my4, "yyn"))
	from.Labels["service.kubernetes.io/headless"] = ""
	from.Ports = []discoveryv1.EndpointPort{
		{Name: at("https"), Port: at(int32(443)), Protocol: &tcp}, {Name: at("http3"), Port: at(int32(443)), Protocol: &udp},
		{Port: at(int32(9)), Protocol: &sctp}, {Port: at(int32(80))}, {Protocol: &udp}, {Port: at(int32(0)), Protocol: &udp},
		{Name: at(""), Port: at(int32(53)), Protocol: &udp},
	}
	again, _ := readSlice(from)
	s, _ := readSlice(from)
	foreign := es(v4, ep(a, "10.0.0.8", "yyn"))
	foreign.Ports = []discoveryv1.EndpointPort{{Port: at(int32(1)), Protocol: &udp}}
	other, _ := readSlice(foreign)
	got := (&reading{who: whoami{uid: mine}, policies: read}).service("web", []*slice{&s, &other, &again})
	want := Service{Name: "web", InRotation: true, Serving: true, Ready: 1, Headless: true,
		Unwatched: []string{"443/UDP (http3)", "53/UDP", "9/SCTP"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestServiceName(t *testing.T) {
	byOwner := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Name: "own-x", OwnerReferences: []metav1.OwnerReference{{Kind: "Thing", Name: "no"}, {Kind: "Service", Name: "own"}},
	}, AddressType: v4}
	byName := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "hand"}, AddressType: v4}
	for want, from := range map[string]*discoveryv1.EndpointSlice{"web": es(v4), "own": byOwner, "hand": byName} {
		s, _ := readSlice(from)
		if s.service != want || s.labelled != (want == "web") {
			t.Errorf("service %q labelled %v, want %q", s.service, s.labelled, want)
		}
	}
}

func TestSlicePorts(t *testing.T) {
	port := func(name string, n int32, protocol corev1.Protocol) discoveryv1.EndpointPort {
		p := discoveryv1.EndpointPort{Port: &n}
		if name != "-" {
			p.Name = &name
		}
		if protocol != "" {
			p.Protocol = &protocol
		}
		return p
	}
	ports := func(all ...discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
		s := es(v4, ep(mine, my4, "yyn"))
		s.Ports = all
		return s
	}
	k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: mine}, nil)
	foreign := ports(port("foreign", 1, ""))
	foreign.Labels = map[string]string{discoveryv1.LabelServiceName: "foreign"}
	foreign.Name, foreign.Endpoints = "foreign", []discoveryv1.Endpoint{ep(a, "10.0.0.8", "yyn")}
	first, second := ports(port("http", 8080, "TCP"), port("dns", 53, "UDP"), port("-", 9000, ""), discoveryv1.EndpointPort{}),
		ports(port("http", 8080, "TCP"), port("metrics", 8080, ""), port("bad", 0, ""), port("bad", 70000, ""), port("bad", -1, ""))
	first.Name, second.Name = "first", "second"
	k.sawList(foreign, first, second)
	want := []Port{{"http", 8080}, {"metrics", 8080}, {"", 9000}}
	if got := k.view().Ports; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// What the pod listened on stays worth watching when its entry is dropped.
	first.Endpoints, second.Endpoints = nil, nil
	k.sawList(foreign, first, second)
	v := k.view()
	if !slices.Equal(v.Ports, want) || len(v.Services) != 1 || v.Services[0].InRotation {
		t.Errorf("after the entry was dropped: %+v", v)
	}
	// A Service that is gone has nothing left to say.
	k.sawList(foreign)
	if v := k.view(); len(v.Services) != 0 || !slices.Equal(v.Ports, want) {
		t.Errorf("after the Service was deleted: %+v", v)
	}
}

// FuzzSlices: whatever slices say, the reckoning ends, without panic, in something that makes
// sense.
func FuzzSlices(f *testing.F) {
	for _, s := range []*discoveryv1.EndpointSlice{
		es(v4, ep(mine, my4, "yyn"), ep(a, "10.0.0.8", "nnn")), es(v6, ep("", my6, "---")), {},
		{AddressType: v4, Endpoints: []discoveryv1.Endpoint{{}, {TargetRef: &corev1.ObjectReference{}}, {Addresses: []string{"", "::", "x"}}},
			Ports: []discoveryv1.EndpointPort{{}, {Port: at(int32(-5))}}},
	} {
		text, err := json.Marshal([]any{s, s})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, mine)
		f.Add(text, "")
	}
	f.Fuzz(func(t *testing.T, text []byte, uid string) {
		var all []*discoveryv1.EndpointSlice
		if json.Unmarshal(text, &all) != nil {
			return
		}
		k := newKnowledge(Identity{Namespace: "default", Name: "web-1", UID: uid, IPs: []netip.Addr{netip.MustParseAddr(my4)}}, nil)
		total := 0
		for i, s := range all {
			if s == nil {
				all[i] = &discoveryv1.EndpointSlice{}
			}
			all[i].Name = fmt.Sprint(i)
			total += len(all[i].Endpoints)
		}
		k.sawList(all...)
		v := k.view()
		for _, s := range v.Services {
			if s.Ready < 0 || s.Coming < 0 || s.StandBy != 0 || s.Ready+s.Coming > total {
				t.Errorf("%+v of %d endpoints", s, total)
			}
		}
		for _, p := range v.Ports {
			if p.Number == 0 {
				t.Errorf("port %+v", p)
			}
		}
		for _, s := range all {
			k.lostSlice(s.Name)
		}
		if v := k.view(); len(v.Services) != 0 {
			t.Errorf("services of no slices: %+v", v.Services)
		}
	})
}

// sawList is a list of these slices, in one page.
func (k *knowledge) sawList(all ...*discoveryv1.EndpointSlice) {
	page, read := &discoveryv1.EndpointSliceList{}, map[string]*slice{}
	for _, s := range all {
		page.Items = append(page.Items, *s)
	}
	if k.take(page, read) == nil {
		k.sawSlices(read)
	}
}
