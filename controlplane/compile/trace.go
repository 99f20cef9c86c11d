package compile

import (
	"maps"
	"reflect"
	"slices"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// traced are the lists of Set whose objects Incremental follows one by one.
var traced = map[string]bool{
	"VirtualServices": true, "DestinationRules": true, "ServiceEntries": true, "Services": true, "Pods": true, "WorkloadEntries": true,
	"Endpoints": true, "EndpointSlices": true, "Workloads": true,
}

// apart are the lists of whole kinds that the lowering and the analysis of traced kinds do not look at.
var apart = map[string]bool{
	"Sidecars": true, "RateLimits": true, "Telemetries": true, "Secrets": true, "AuthorizationPolicies": true,
}

// wholeLists is the Set of what others may look at, without the traced kinds.
func wholeLists(set istio.Set) istio.Set {
	out := set
	v := reflect.ValueOf(&out).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; traced[name] || apart[name] {
			v.Field(i).SetZero()
		}
	}
	return out
}

// compareLists visits the objects of traced kinds in which two Sets differ. False: a list is not sorted.
func compareLists(old, now istio.Set, t *tokens, visit func(was, is *node, shape bool)) bool {
	return compareList(old.VirtualServices, now.VirtualServices, t.virtualService, func(s *istio.Set) *[]*istio.Object[*networking.VirtualService] { return &s.VirtualServices }, nil, visit) &&
		compareList(old.DestinationRules, now.DestinationRules, t.destinationRule, func(s *istio.Set) *[]*istio.Object[*networking.DestinationRule] { return &s.DestinationRules }, nil, visit) &&
		compareList(old.ServiceEntries, now.ServiceEntries, t.serviceEntry, func(s *istio.Set) *[]*istio.Object[*networking.ServiceEntry] { return &s.ServiceEntries }, sameEntry, visit) &&
		compareList(old.Services, now.Services, t.service, func(s *istio.Set) *[]*istio.Object[*corev1.Service] { return &s.Services }, sameService, visit) &&
		compareList(old.Pods, now.Pods, t.pod, func(s *istio.Set) *[]*istio.Object[*corev1.Pod] { return &s.Pods }, samePod, visit) &&
		compareList(old.WorkloadEntries, now.WorkloadEntries, t.workloadEntry, func(s *istio.Set) *[]*istio.Object[*networking.WorkloadEntry] { return &s.WorkloadEntries }, nil, visit) &&
		compareList(old.Endpoints, now.Endpoints, t.endpoints, func(s *istio.Set) *[]*istio.Object[*corev1.Endpoints] { return &s.Endpoints }, nil, visit) &&
		compareList(old.EndpointSlices, now.EndpointSlices, t.endpointSlice, func(s *istio.Set) *[]*istio.Object[*discoveryv1.EndpointSlice] { return &s.EndpointSlices }, nil, visit) &&
		compareList(old.Workloads, now.Workloads, t.template, func(s *istio.Set) *[]*istio.Object[*istio.WorkloadTemplate] { return &s.Workloads }, nil, visit)
}

// compareList visits the objects in which two lists, sorted by namespace, name and kind, differ. same tells whether two versions of
// an object show the same without looking inside; nil: never. False: a list is not sorted where they differ.
func compareList[T any](old, now []*istio.Object[T], read func(*node, *istio.Object[T]), at func(*istio.Set) *[]*istio.Object[T],
	same func(was, is *istio.Object[T]) bool, visit func(was, is *node, shape bool),
) bool {
	for len(old) > 0 && len(now) > 0 && old[len(old)-1] == now[len(now)-1] {
		old, now = old[:len(old)-1], now[:len(now)-1]
	}
	made := func(o *istio.Object[T]) *node {
		n := &node{meta: &o.Meta, put: func(s *istio.Set) { l := at(s); *l = append(*l, o) }}
		read(n, o)
		return n
	}
	var last istio.Ref // visited, of either list
	for len(old) > 0 || len(now) > 0 {
		if len(old) > 0 && len(now) > 0 && old[0] == now[0] {
			old, now = old[1:], now[1:]
			continue
		}
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(now) == 0:
			order = -1
		default:
			order = old[0].Ref.Compare(now[0].Ref)
		}
		var was, is *istio.Object[T]
		var ref istio.Ref
		if order <= 0 {
			was, old = old[0], old[1:]
			ref = was.Ref
		}
		if order >= 0 {
			is, now = now[0], now[1:]
			ref = is.Ref
		}
		if last != (istio.Ref{}) && last.Compare(ref) >= 0 {
			return false
		}
		last = ref
		switch {
		case was == nil:
			visit(nil, made(is), true)
		case is == nil:
			visit(&node{meta: &was.Meta}, nil, true)
		default:
			visit(&node{meta: &was.Meta}, made(is), same == nil || !same(was, is))
		}
	}
	return true
}

// sameEntry: only the endpoints differ, or nothing that shows.
func sameEntry(was, is *istio.Object[*networking.ServiceEntry]) bool {
	bare := func(o *istio.Object[*networking.ServiceEntry]) proto.Message {
		c := proto.CloneOf(o.Spec)
		c.Endpoints = nil
		return c
	}
	return len(was.Spec.GetEndpoints()) > 0 == (len(is.Spec.GetEndpoints()) > 0) && sameMeta(&was.Meta, &is.Meta) && proto.Equal(bare(was), bare(is))
}

func sameService(was, is *istio.Object[*corev1.Service]) bool {
	return sameMeta(&was.Meta, &is.Meta) && reflect.DeepEqual(was.Spec.Spec, is.Spec.Spec)
}

// samePod: nothing but its readiness differs.
func samePod(was, is *istio.Object[*corev1.Pod]) bool {
	return sameMeta(&was.Meta, &is.Meta) && maps.Equal(was.Spec.Labels, is.Spec.Labels) && was.Spec.Status.PodIP == is.Spec.Status.PodIP &&
		slices.Equal(was.Spec.Status.PodIPs, is.Spec.Status.PodIPs) &&
		was.Spec.Status.Phase == is.Spec.Status.Phase && reflect.DeepEqual(was.Spec.Spec, is.Spec.Spec)
}

// sameMeta compares what an object says of itself; where it stands in its file matters to those who name the place.
func sameMeta(a, b *istio.Meta) bool {
	return a.Position == b.Position && maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations) && a.CreationTimestamp.Equal(b.CreationTimestamp)
}
