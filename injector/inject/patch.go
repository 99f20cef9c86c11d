package inject

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Operation is one of RFC 6902: "add", "replace" or "remove". Value is of Kubernetes' types, part of the pod that comes out.
type Operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Patch says how one pod becomes the other, in an order that is always the same. Containers and volumes are told apart by their names:
// what stands in them that this build's Kubernetes types do not know stays with them, wherever a proxy is put.
//
// The pods are compared as what they are, not as JSON: most of both is the same, and that is never written.
func Patch(before, after *corev1.Pod) []Operation {
	d := differ{shapes: podShapes()}
	d.value(reflect.ValueOf(before).Elem(), reflect.ValueOf(after).Elem())
	return d.ops
}

// differ goes through two values of one type. Values are as encoding/json writes them: what it leaves out is not there.
type differ struct {
	shapes map[reflect.Type]shape
	path   []byte
	ops    []Operation
}

func (d *differ) add(op string, value reflect.Value) {
	o := Operation{Op: op, Path: string(d.path)}
	if value.IsValid() {
		o.Value = value.Interface()
	}
	d.ops = append(d.ops, o)
}

// below does something at a member's or an item's path.
func (d *differ) below(key string, do func()) {
	at := len(d.path)
	d.path = append(d.path, '/')
	if strings.ContainsAny(key, "~/") {
		key = strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
	}
	d.path = append(d.path, key...)
	do()
	d.path = d.path[:at]
}

// value of one place.
func (d *differ) value(a, b reflect.Value) {
	switch s := d.shapes[a.Type()]; {
	case s.kind == asText:
		if !sameText(a, b) {
			d.add("replace", b)
		}
	case s.kind == asObject:
		d.members(s, a, b)
	case null(a) || null(b):
		if null(a) != null(b) {
			d.add("replace", b)
		}
	case a.Kind() == reflect.Pointer:
		d.value(a.Elem(), b.Elem())
	case a.Kind() == reflect.Map:
		d.entries(a, b)
	case a.Kind() == reflect.Slice:
		if !d.list(a, b) && !d.same(a, b) {
			d.add("replace", b)
		}
	case !a.Equal(b):
		d.add("replace", b)
	}
}

// null tells whether JSON writes a value as null.
func null(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		return v.IsNil()
	}
	return false
}

// members of a struct.
func (d *differ) members(s shape, a, b reflect.Value) {
	for i := range s.members {
		m := &s.members[i]
		if _, is := m.of(b); is {
			continue
		}
		if _, was := m.of(a); was {
			d.below(m.name, func() { d.add("remove", reflect.Value{}) })
		}
	}
	for i := range s.members {
		m := &s.members[i]
		want, is := m.of(b)
		if !is {
			continue
		}
		have, was := m.of(a)
		d.below(m.name, func() { d.member(have, want, was) })
	}
}

// entries of a map.
func (d *differ) entries(a, b reflect.Value) {
	for _, k := range keys(a) {
		if !b.MapIndex(k).IsValid() {
			d.below(k.String(), func() { d.add("remove", reflect.Value{}) })
		}
	}
	for _, k := range keys(b) {
		have := a.MapIndex(k)
		d.below(k.String(), func() { d.member(have, b.MapIndex(k), have.IsValid()) })
	}
}

func keys(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(x, y reflect.Value) int { return strings.Compare(x.String(), y.String()) })
}

// member of an object that is in what comes out.
func (d *differ) member(have, want reflect.Value, was bool) {
	if !was || d.empty(have) && !d.same(have, want) {
		d.add("add", want) // what is empty in Kubernetes' types may be missing in the text
		return
	}
	d.value(have, want)
}

// empty tells whether a value is an object without members.
func (d *differ) empty(v reflect.Value) bool {
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() == reflect.Map {
		return !v.IsNil() && v.Len() == 0
	}
	s := d.shapes[v.Type()]
	return s.kind == asObject && !slices.ContainsFunc(s.members, func(m member) bool { _, is := m.of(v); return is })
}

// same tells whether two values are the same in JSON.
func (d *differ) same(a, b reflect.Value) bool {
	apart := differ{shapes: d.shapes}
	if a.Kind() != reflect.Slice {
		apart.value(a, b)
		return len(apart.ops) == 0
	}
	if a.Len() != b.Len() || null(a) != null(b) {
		return false
	}
	for i := 0; i < a.Len() && len(apart.ops) == 0; i++ {
		apart.value(a.Index(i), b.Index(i))
	}
	return len(apart.ops) == 0
}

// list goes from one list of named objects to the other; false if they are none, or their own order changed: then it is replaced.
func (d *differ) list(a, b reflect.Value) bool {
	have, ok1 := d.names(a)
	want, ok2 := d.names(b)
	if !ok1 || !ok2 {
		return false
	}
	kept := func(list, other []string, ours bool) (out []string) {
		for _, n := range list {
			if slices.Contains(other, n) && (ours || !slices.Contains(initNames(), n)) {
				out = append(out, n)
			}
		}
		return out
	}
	ours := slices.Equal(kept(have, want, true), kept(want, have, true))
	keep := kept(want, have, ours)
	if !slices.Equal(kept(have, want, ours), keep) {
		return false
	}
	for i := len(have) - 1; i >= 0; i-- {
		if !slices.Contains(keep, have[i]) {
			d.below(strconv.Itoa(i), func() { d.add("remove", reflect.Value{}) })
		}
	}
	for i, n := range want {
		d.below(strconv.Itoa(i), func() {
			if slices.Contains(keep, n) {
				d.value(a.Index(slices.Index(have, n)), b.Index(i))
			} else {
				d.add("add", b.Index(i))
			}
		})
	}
	return true
}

// names of a list's objects; false unless each has one, of its own.
func (d *differ) names(list reflect.Value) ([]string, bool) {
	m := d.shapes[list.Type().Elem()].name
	if m == nil && list.Len() > 0 {
		return nil, false
	}
	out := make([]string, 0, list.Len())
	for i := range list.Len() {
		v, is := m.of(list.Index(i))
		if !is || slices.Contains(out, v.String()) {
			return nil, false
		}
		out = append(out, v.String())
	}
	return out, true
}
