package compile

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// parts are what became of an object. What several objects are merged into stands with the one that it names as its origin; such
// objects use each other's tokens, and are made anew together.
type parts struct {
	services  []*mesh.Service
	workloads []*mesh.Workload
	rules     []*mesh.HostRules
	policies  []*mesh.Policy
}

func (p *parts) add(o *parts) {
	p.services = append(p.services, o.services...)
	p.workloads = append(p.workloads, o.workloads...)
	p.rules = append(p.rules, o.rules...)
	p.policies = append(p.policies, o.policies...)
}

// partsOf are all parts of a World.
func partsOf(w *mesh.World) *parts { return &parts{w.Services, w.Workloads, w.Rules, w.Policies} }

// deal gives each part to what to returns for the object that it came from; nil: to nobody.
func (p *parts) deal(to func(istio.Ref) *parts) {
	for _, s := range p.services {
		if q := to(refOf(s.Origin)); q != nil {
			q.services = append(q.services, s)
		}
	}
	for _, w := range p.workloads {
		if q := to(refOf(w.Origin)); q != nil {
			q.workloads = append(q.workloads, w)
		}
	}
	for _, r := range p.rules {
		if q := to(refOf(r.Origin)); q != nil {
			q.rules = append(q.rules, r)
		}
	}
	for _, v := range p.policies {
		if q := to(refOf(v.Origin)); q != nil {
			q.policies = append(q.policies, v)
		}
	}
}

// spliced are the fields of World that parts go into; tracedKinds the kinds whose parts may stand there only.
var (
	spliced     = map[string]bool{"Services": true, "Workloads": true, "Rules": true, "Policies": true, "Endpoints": true}
	tracedKinds = map[string]bool{
		"VirtualService": true, "DestinationRule": true, "ServiceEntry": true, "Service": true, "Pod": true, "WorkloadEntry": true,
		"Endpoints": true, "EndpointSlice": true, "Deployment": true, "StatefulSet": true, "ReplicaSet": true, "DaemonSet": true,
	}
)

// oddParts tells whether an object of a traced kind has a part in a list that is not spliced.
func oddParts(w *mesh.World) bool {
	v := reflect.ValueOf(w).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if spliced[v.Type().Field(i).Name] || f.Kind() != reflect.Slice {
			continue
		}
		for j := range f.Len() {
			part := reflect.Indirect(f.Index(j))
			if part.Kind() != reflect.Struct {
				continue
			}
			if o := part.FieldByName("Origin"); o.IsValid() && tracedKinds[o.FieldByName("Kind").String()] {
				return true
			}
		}
	}
	return false
}

// splice makes the next World of the last one and of what was made anew; made holds more than that. False: it cannot.
func (x *Incremental) splice(old, made *mesh.World, hit *affected) (*mesh.World, bool) {
	before := &parts{}
	for _, n := range hit.gone {
		before.add(&n.parts)
	}
	for n := range hit.live {
		before.add(&n.parts)
	}
	now := hit.made(made)
	next := *old
	reuse(before.services, now.services, func(a, b *mesh.Service) bool { return a.Hostname == b.Hostname && a.Namespace == b.Namespace })
	reuse(before.workloads, now.workloads, func(a, b *mesh.Workload) bool { return a.Name == b.Name && a.Namespace == b.Namespace })
	reuse(before.rules, now.rules, func(a, b *mesh.HostRules) bool { return a.Name == b.Name && a.Namespace == b.Namespace })
	reuse(before.policies, now.policies, func(a, b *mesh.Policy) bool { return a.Hostname == b.Hostname && a.Namespace == b.Namespace })
	created := x.created(hit)
	var ok [4]bool
	next.Services, ok[0] = replace(old.Services, before.services, now.services, compareServices)
	next.Workloads, ok[1] = replace(old.Workloads, before.workloads, now.workloads, compareWorkloads)
	next.Rules, ok[2] = replace(old.Rules, before.rules, now.rules, func(a, b *mesh.HostRules) int { return created(a.Origin, b.Origin) })
	next.Policies, ok[3] = replace(old.Policies, before.policies, now.policies, func(a, b *mesh.Policy) int { return created(a.Origin, b.Origin) })
	next.Endpoints = spliceEndpoints(old.Endpoints, made.Endpoints, before.services, now.services)
	x.own(hit, now)
	return &next, ok == [4]bool{true, true, true, true}
}

// made are the parts that a change makes anew.
func (a *affected) made(w *mesh.World) *parts {
	out := &parts{}
	partsOf(w).deal(func(ref istio.Ref) *parts {
		if a.refs[ref] {
			return out
		}
		return nil
	})
	return out
}

// own notes what became of each object.
func (x *Incremental) own(hit *affected, now *parts) {
	for n := range hit.live {
		n.parts = parts{}
	}
	now.deal(func(ref istio.Ref) *parts { return &x.nodes[ref].parts })
}

// created compares the objects that parts came from as byPrecedence does; of those that are gone, too.
func (x *Incremental) created(hit *affected) func(a, b mesh.Origin) int {
	gone := make(map[istio.Ref]*istio.Meta, len(hit.gone))
	for _, n := range hit.gone {
		gone[n.meta.Ref] = n.meta
	}
	meta := func(o mesh.Origin) *istio.Meta {
		if n := x.nodes[refOf(o)]; n != nil {
			return n.meta
		}
		if m := gone[refOf(o)]; m != nil {
			return m
		}
		return &istio.Meta{Ref: refOf(o)}
	}
	return func(a, b mesh.Origin) int {
		return cmp.Or(meta(a).CreationTimestamp.Compare(meta(b).CreationTimestamp), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Namespace, b.Namespace))
	}
}

// reuse puts old parts in the place of equal new ones.
func reuse[T any](old, now []*T, alike func(a, b *T) bool) {
	old = slices.Clone(old)
	for i, part := range now {
		if j := slices.IndexFunc(old, func(o *T) bool { return alike(o, part) && reflect.DeepEqual(o, part) }); j >= 0 {
			now[i] = old[j]
			old = slices.Delete(old, j, j+1)
		}
	}
}

// replace makes a sorted list with now in the place of before. False: something of before is not where it should stand.
func replace[T any](list, before, now []*T, compare func(a, b *T) int) ([]*T, bool) {
	slices.SortStableFunc(now, compare)
	slices.SortStableFunc(before, compare)
	if slices.Equal(before, now) {
		return list, true
	}
	out := make([]*T, 0, len(list)+len(now)-len(before))
	for _, p := range before {
		at, found := slices.BinarySearchFunc(list, p, compare)
		for found && at < len(list) && list[at] != p && compare(list[at], p) == 0 {
			at++
		}
		if !found || at == len(list) || list[at] != p {
			return nil, false
		}
		out, list = append(out, list[:at]...), list[at+1:]
	}
	out = append(out, list...)
	for _, p := range now {
		at, _ := slices.BinarySearchFunc(out, p, compare)
		for at < len(out) && compare(out[at], p) == 0 {
			at++ // behind its equals, as they were made
		}
		out = slices.Insert(out, at, p)
	}
	if len(out) == 0 {
		return nil, true
	}
	return out, true
}

// spliceEndpoints is old with what made has for some services in the place of what they had. Old itself if nothing differs.
func spliceEndpoints(old, made map[mesh.EndpointKey][]*mesh.Endpoint, before, now []*mesh.Service) map[mesh.EndpointKey][]*mesh.Endpoint {
	edits := map[mesh.EndpointKey][]*mesh.Endpoint{}
	keys(before, func(k mesh.EndpointKey) {
		if len(old[k]) > 0 {
			edits[k] = nil
		}
	})
	keys(now, func(k mesh.EndpointKey) {
		if list, ok := made[k]; ok {
			edits[k] = list
		}
	})
	for k, list := range edits {
		if was, ok := old[k]; ok && list != nil && slices.EqualFunc(was, list, sameEndpoint) {
			delete(edits, k)
		}
	}
	if len(edits) == 0 {
		return old
	}
	out := maps.Clone(old)
	for k, list := range edits {
		switch {
		case list == nil:
			delete(out, k)
		case out == nil:
			out = map[mesh.EndpointKey][]*mesh.Endpoint{k: list}
		default:
			out[k] = list
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func keys(services []*mesh.Service, visit func(mesh.EndpointKey)) {
	for _, s := range services {
		for _, p := range s.Ports {
			visit(mesh.EndpointKey{Hostname: s.Hostname, Namespace: s.Namespace, Port: p.Number})
		}
	}
}
