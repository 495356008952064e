package main

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"lull/kube"
	"lull/procnet"
	"lull/wait"
)

// TestSeam: what kube and procnet know reaches the policy. A field that one of them has and the
// policy hasn't, or that is not carried over, would be a zero there, which means that all is well.
func TestSeam(t *testing.T) {
	for _, tt := range []struct{ from, to reflect.Type }{
		{reflect.TypeFor[kube.View](), reflect.TypeFor[wait.View]()},
		{reflect.TypeFor[kube.Service](), reflect.TypeFor[wait.Service]()},
		{reflect.TypeFor[kube.Probe](), reflect.TypeFor[wait.Probe]()},
		{reflect.TypeFor[kube.Port](), reflect.TypeFor[wait.Port]()},
		{reflect.TypeFor[procnet.Arrival](), reflect.TypeFor[wait.Arrival]()},
		{reflect.TypeFor[procnet.Conn](), reflect.TypeFor[wait.Conn]()},
	} {
		for name := range fields(tt.from, tt.to) {
			t.Errorf("%v.%s has no counterpart in %v", tt.from, name, tt.to)
		}
		for name := range fields(tt.to, tt.from) {
			t.Errorf("%v.%s comes from nowhere in %v", tt.to, name, tt.from)
		}
	}
	var v kube.View
	fill(reflect.ValueOf(&v).Elem())
	requireCarried(t, reflect.ValueOf(waitView(v)), "View")
	var a procnet.Arrival
	fill(reflect.ValueOf(&a).Elem())
	requireCarried(t, reflect.ValueOf(waitArrival(a)), "Arrival")
}

// TestKinds: each kind of arrival is one of the policy's own.
func TestKinds(t *testing.T) {
	for _, from := range []procnet.Kind{procnet.Connection, procnet.Request, procnet.Dropped, procnet.Lost, procnet.Waiting} {
		if _, ok := waitKinds[from]; !ok {
			t.Errorf("procnet's kind %v is none of wait's", from)
		}
	}
	back := map[wait.Kind]procnet.Kind{}
	for from, to := range waitKinds {
		if other, ok := back[to]; ok {
			t.Errorf("procnet's kinds %v and %v are one of wait's", from, other)
		}
		back[to] = from
	}
}

// fields are those of a struct that another one lacks.
func fields(of, lackedBy reflect.Type) map[string]bool {
	lacking := map[string]bool{}
	for i := range of.NumField() {
		name := of.Field(i).Name
		if _, ok := lackedBy.FieldByName(name); !ok {
			lacking[name] = true
		}
	}
	return lacking
}

// samples are values of the types that fill does not look into.
var samples = []any{
	time.Unix(1, 0), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddrPort("10.0.0.1:1"), errors.New("x"),
}

// fill sets a value, and every field of a struct, to something other than zero.
func fill(v reflect.Value) {
	for _, s := range samples {
		if reflect.TypeOf(s).AssignableTo(v.Type()) {
			v.Set(reflect.ValueOf(s))
			return
		}
	}
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(1)
	case v.CanUint():
		v.SetUint(1)
	default:
		panic("no sample for " + v.Type().String())
	}
}

// requireCarried requires that what fill set has arrived.
func requireCarried(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for _, s := range samples {
		if reflect.TypeOf(s).AssignableTo(v.Type()) {
			if v.IsZero() {
				t.Errorf("%s is not carried over", path)
			}
			return
		}
	}
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			requireCarried(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case v.IsZero():
		t.Errorf("%s is not carried over", path)
	case v.Kind() == reflect.Slice:
		requireCarried(t, v.Index(0), path+"[0]")
	}
}
