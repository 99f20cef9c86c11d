package inject

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// shape is how encoding/json writes the values of a type.
type shape struct {
	kind    int
	members []member // of an object, by their names
	name    *member  // the one that is called name and is a text; nil: there is none
}

const (
	asKind   = iota // as its Go kind says
	asObject        // a struct
	asText          // by a method of its own
)

// member of an object.
type member struct {
	name      string
	index     []int // of the field, through structs without a name
	omitEmpty bool
	omitZero  func(reflect.Value) bool // nil: zero is written
}

// of is the member's value in a struct, and whether it is written.
func (m *member) of(v reflect.Value) (reflect.Value, bool) {
	for _, i := range m.index {
		v = v.Field(i)
	}
	return v, !(m.omitEmpty && empty(v) || m.omitZero != nil && m.omitZero(v))
}

// empty is encoding/json's word of it, for the kinds that Kubernetes' types have.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// podShapes are those of all types of a pod.
var podShapes = sync.OnceValue(func() map[reflect.Type]shape {
	out := map[reflect.Type]shape{}
	shapes(reflect.TypeFor[corev1.Pod](), out)
	return out
})

func shapes(t reflect.Type, into map[reflect.Type]shape) {
	if _, done := into[t]; done {
		return
	}
	switch {
	case t.Implements(reflect.TypeFor[json.Marshaler]()) && t.Kind() != reflect.Pointer:
		into[t] = shape{kind: asText}
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		into[t] = shape{}
		shapes(t.Elem(), into)
	case t.Kind() == reflect.Struct:
		into[t] = shape{} // until it is known, for types that hold themselves
		s := shape{kind: asObject, members: members(t, nil, into)}
		slices.SortFunc(s.members, func(a, b member) int { return strings.Compare(a.name, b.name) })
		for i, m := range s.members {
			if m.name == "name" && t.FieldByIndex(m.index).Type.Kind() == reflect.String {
				s.name = &s.members[i]
			}
		}
		into[t] = s
	default:
		into[t] = shape{}
	}
}

func members(t reflect.Type, at []int, into map[reflect.Type]shape) (out []member) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(slices.Clone(at), i)
		switch {
		case name == "" && f.Anonymous:
			out = append(out, members(f.Type, index, into)...)
		case name != "-" && f.IsExported():
			m := member{name: name, index: index, omitEmpty: strings.Contains(options, "omitempty")}
			if strings.Contains(options, "omitzero") {
				m.omitZero = zero(f.Type)
			}
			if name == "" {
				m.name = f.Name
			}
			out = append(out, m)
			shapes(f.Type, into)
		}
	}
	return out
}

// zero tells for a type which values encoding/json takes for zero: a method may say so.
func zero(t reflect.Type) func(reflect.Value) bool {
	type zeroer interface{ IsZero() bool }
	if reflect.PointerTo(t).Implements(reflect.TypeFor[zeroer]()) {
		return func(v reflect.Value) bool { return v.Addr().Interface().(zeroer).IsZero() }
	}
	return reflect.Value.IsZero
}

// sameText compares values that write themselves. What cannot be written is no part of a pod.
func sameText(a, b reflect.Value) bool {
	if a.Comparable() && a.Equal(b) {
		return true
	}
	x, err1 := json.Marshal(a.Interface())
	y, err2 := json.Marshal(b.Interface())
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}
