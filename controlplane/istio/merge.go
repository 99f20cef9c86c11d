package istio

import (
	"cmp"
	"fmt"
	"slices"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"
)

// Merge overlays sets: on the same object (kind, namespace, name) the later set wins, and an object annotated
// mizzen.dev/deleted: "true" takes away the same object of the sets before it. The result is sorted and shares the objects.
func Merge(sets ...Set) (Set, Diagnostics) {
	var out Set
	for _, s := range sets {
		s = s.clone()
		gone := map[Ref]bool{}
		for _, m := range s.Metas() {
			gone[m.Ref] = true // what the later set holds replaces, what it deletes goes: either way the earlier one leaves
		}
		out.filter(func(m *Meta) bool { return !gone[m.Ref] })
		s.filter(func(m *Meta) bool { return m.Annotations[AnnotationDeleted] != "true" })
		out.join(s)
	}
	out.sort()
	return out, nil
}

// Concat puts sets side by side that stand on one level, as the files of a directory do: on the same object the first one
// counts, and each later one is an Error. Deletions stay in, for Merge.
func Concat(sets ...Set) (Set, Diagnostics) {
	var out Set
	var diags Diagnostics
	first := map[Ref]*Meta{}
	for _, s := range sets {
		s = s.clone()
		s.filter(func(m *Meta) bool {
			other, twice := first[m.Ref]
			if !twice {
				first[m.Ref] = m
				return true
			}
			diags = append(diags, Diagnostic{
				Code: CodeDuplicate, Severity: Error, Object: m.Ref, Position: m.Position,
				Message: fmt.Sprintf("stands a second time; the one at %s counts", other.Position), Fix: "keep one, or rename one",
			})
			return false
		})
		out.join(s)
	}
	out.sort()
	return out, diags
}

// Metas returns the metadata of every object, MeshConfig's ConfigMap and Others included, in the order of the lists.
func (s *Set) Metas() []*Meta {
	var out []*Meta
	s.each(func(l list) { out = append(out, l.metas()...) })
	if s.Mesh != nil {
		out = append(out, &s.Mesh.Meta)
	}
	return append(out, s.Others...)
}

// list is one of Set's lists, whatever its objects.
type list interface {
	metas() []*Meta
	filter(keep func(*Meta) bool)
	join(other list)
	replace(gone map[Ref]bool, come list)
	clone()
	sort()
}

type listOf[T any] struct{ at *[]*Object[T] }

func (l listOf[T]) metas() []*Meta {
	out := make([]*Meta, len(*l.at))
	for i, o := range *l.at {
		out[i] = &o.Meta
	}
	return out
}

func (l listOf[T]) filter(keep func(*Meta) bool) {
	*l.at = slices.DeleteFunc(*l.at, func(o *Object[T]) bool { return !keep(&o.Meta) })
}

func (l listOf[T]) join(other list) { *l.at = append(*l.at, *other.(listOf[T]).at...) }

func (l listOf[T]) clone() { *l.at = slices.Clone(*l.at) }

func (l listOf[T]) sort() {
	slices.SortStableFunc(*l.at, func(a, b *Object[T]) int { return compareRefs(a.Ref, b.Ref) })
}

func compareRefs(a, b Ref) int { return a.Compare(b) }

// Compare orders by namespace, then name, then kind, as the lists of a Set are.
func (r Ref) Compare(o Ref) int {
	return cmp.Or(cmp.Compare(r.Namespace, o.Namespace), cmp.Compare(r.Name, o.Name), cmp.Compare(r.Kind, o.Kind))
}

func (s *Set) lists() []list {
	return []list{
		listOf[*corev1.Node]{&s.Nodes}, listOf[*networking.WorkloadGroup]{&s.WorkloadGroups},
		listOf[vs]{&s.VirtualServices}, listOf[dr]{&s.DestinationRules}, listOf[gw]{&s.Gateways}, listOf[se]{&s.ServiceEntries},
		listOf[we]{&s.WorkloadEntries}, listOf[sc]{&s.Sidecars}, listOf[*RateLimit]{&s.RateLimits}, listOf[tel]{&s.Telemetries},
		listOf[pa]{&s.PeerAuthentications}, listOf[pc]{&s.ProxyConfigs},
		listOf[ap]{&s.AuthorizationPolicies}, listOf[ra]{&s.RequestAuthentications},
		listOf[ef]{&s.EnvoyFilters}, listOf[wp]{&s.WasmPlugins}, listOf[te]{&s.TrafficExtensions},
		listOf[svc]{&s.Services}, listOf[pod]{&s.Pods}, listOf[eps]{&s.Endpoints}, listOf[slice]{&s.EndpointSlices},
		listOf[ns]{&s.Namespaces}, listOf[secret]{&s.Secrets}, listOf[*WorkloadTemplate]{&s.Workloads},
		listOf[*Legacy]{&s.Legacy},
	}
}

func (s *Set) each(do func(list)) {
	for _, l := range s.lists() {
		do(l)
	}
}

// clone copies the lists, not the objects.
func (s Set) clone() Set {
	s.each(list.clone)
	s.Others = slices.Clone(s.Others)
	return s
}

func (s *Set) filter(keep func(*Meta) bool) {
	s.each(func(l list) { l.filter(keep) })
	if s.Mesh != nil && !keep(&s.Mesh.Meta) {
		s.Mesh = nil
	}
	s.Others = slices.DeleteFunc(s.Others, func(m *Meta) bool { return !keep(m) })
}

func (s *Set) join(other Set) {
	mine, theirs := s.lists(), other.lists()
	for i := range mine {
		mine[i].join(theirs[i])
	}
	if other.Mesh != nil {
		s.Mesh = other.Mesh
	}
	s.Others = append(s.Others, other.Others...)
}

func (s *Set) sort() {
	s.each(list.sort)
	slices.SortStableFunc(s.Others, func(a, b *Meta) int { return compareRefs(a.Ref, b.Ref) })
}

// Only returns the objects for which keep says so.
func (s Set) Only(keep func(*Meta) bool) Set {
	s = s.clone()
	s.filter(keep)
	return s
}
