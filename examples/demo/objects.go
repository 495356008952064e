package main

import (
	"crypto/rand"
	"fmt"
	"time"
)

// The resources that the API has.
const (
	pods           = "pods"
	endpointSlices = "endpointslices"
)

// object is what the store takes: of Kubernetes' objects the part that somebody
// here reads (k8s.io/api core/v1 and discovery/v1, types.go).
type object interface{ meta() *metadata }

type metadata struct {
	Name                       string            `json:"name"`
	Namespace                  string            `json:"namespace"`
	UID                        string            `json:"uid"`
	ResourceVersion            string            `json:"resourceVersion"`
	Labels                     map[string]string `json:"labels,omitempty"`
	DeletionTimestamp          *time.Time        `json:"deletionTimestamp,omitempty"`
	DeletionGracePeriodSeconds *int64            `json:"deletionGracePeriodSeconds,omitempty"`
}

type podV1 struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   metadata `json:"metadata"`
	Spec       struct {
		TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds"`
	} `json:"spec"`
	Status struct {
		Phase  string `json:"phase"`
		PodIP  string `json:"podIP"`
		PodIPs []ip   `json:"podIPs"`
	} `json:"status"`
}

func (p *podV1) meta() *metadata { return &p.Metadata }

type ip struct {
	IP string `json:"ip"`
}

type endpointSlice struct {
	Kind        string         `json:"kind"`
	APIVersion  string         `json:"apiVersion"`
	Metadata    metadata       `json:"metadata"`
	AddressType string         `json:"addressType"`
	Endpoints   []endpoint     `json:"endpoints"`
	Ports       []endpointPort `json:"ports"`
}

func (s *endpointSlice) meta() *metadata { return &s.Metadata }

type endpoint struct {
	Addresses  []string   `json:"addresses"`
	Conditions conditions `json:"conditions"`
	TargetRef  targetRef  `json:"targetRef"`
}

type conditions struct {
	Ready       bool `json:"ready"`
	Serving     bool `json:"serving"`
	Terminating bool `json:"terminating"`
}

type targetRef struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

type endpointPort struct {
	Name     string `json:"name"`
	Port     uint16 `json:"port"`
	Protocol string `json:"protocol"`
}

const loopback = "127.0.0.1"

// podObject is a pod as the API shows it; deleted, with the time at which its
// grace period ends, unless that is zero.
func podObject(p *pod, grace time.Duration, end time.Time) object {
	o := &podV1{Kind: "Pod", APIVersion: "v1", Metadata: metadata{Name: p.Name, Namespace: namespace, UID: p.UID}}
	seconds := int64(grace / time.Second)
	o.Spec.TerminationGracePeriodSeconds = seconds
	o.Status.Phase, o.Status.PodIP, o.Status.PodIPs = "Running", loopback, []ip{{loopback}}
	if !end.IsZero() {
		end = end.UTC().Truncate(time.Second)
		o.Metadata.DeletionTimestamp, o.Metadata.DeletionGracePeriodSeconds = &end, &seconds
	}
	return o
}

// sliceObject is the EndpointSlice of a pod. Each pod has a slice of its own: the pods differ in
// their port, and a slice has one set of ports for all its endpoints.
func sliceObject(p *pod, terminating bool) object {
	return &endpointSlice{
		Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1", AddressType: "IPv4",
		Metadata: metadata{
			Name: service + "-" + p.Name, Namespace: namespace, UID: "slice-of-" + p.UID,
			Labels: map[string]string{
				"kubernetes.io/service-name": service,
				// Who keeps it up to date: k8s.io/kubernetes pkg/controller/endpointslice, controllerName.
				"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
			},
		},
		Endpoints: []endpoint{{
			Addresses: []string{loopback},
			// As a real endpoint controller sets them during the hook.
			Conditions: conditions{Ready: !terminating, Serving: true, Terminating: terminating},
			TargetRef:  targetRef{Kind: "Pod", Namespace: namespace, Name: p.Name, UID: p.UID},
		}},
		Ports: []endpointPort{{Name: "http", Port: p.Port, Protocol: "TCP"}},
	}
}

// newUID is a random UUID (RFC 9562, version 4).
func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
