package registry

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"unsafe"
	"weak"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// NewEnv makes the environment that all programs of one process share. What policies keep in it lives as long as a
// policy refers to it: a new configuration is parsed before the old one is dropped, so limits and budgets go on
// counting, and a limit that nobody names any more is forgotten.
func NewEnv() *filter.Env {
	s := &shared{entries: map[string]entry{}}
	return &filter.Env{Shared: s.get}
}

// shared maps keys to weak references.
type shared struct {
	mu      sync.Mutex
	entries map[string]entry
}

// entry is a weak reference to a value of pointer type: its type, and a weak pointer to what it points at.
type entry struct {
	typ reflect.Type
	ref weak.Pointer[byte]
}

// value makes the pointer whole again; nil if the value is gone.
func (e entry) value() any {
	p := e.ref.Value()
	if p == nil {
		return nil
	}
	return reflect.NewAt(e.typ.Elem(), unsafe.Pointer(p)).Interface()
}

// get returns the value under key. make must return a non-nil pointer to something of non-zero size; anything else is
// a mistake in the policy, and panics when the configuration is parsed. make must not call get.
func (s *shared) get(key string, make func() any) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok {
		if v := e.value(); v != nil {
			return v
		}
	}
	v := make()
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() || rv.Type().Elem().Size() == 0 {
		panic(fmt.Sprintf("shared value %q: want a non-nil pointer, not %T", key, v))
	}
	p := (*byte)(rv.UnsafePointer())
	e := entry{rv.Type(), weak.Make(p)}
	s.entries[key] = e
	runtime.AddCleanup(p, s.drop, dropped{key, e.ref})
	return v
}

type dropped struct {
	key string
	ref weak.Pointer[byte]
}

// drop forgets a key whose value is gone, unless it has been made anew meanwhile.
func (s *shared) drop(d dropped) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[d.key].ref == d.ref {
		delete(s.entries, d.key)
	}
}
