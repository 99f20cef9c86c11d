package wasmtest

import "sync"

// Shared is proxy-wasm's shared data: a map that the VMs of all workers see, with compare-and-swap.
type Shared struct {
	mu     sync.Mutex
	values map[string]sharedValue
}

type sharedValue struct {
	data []byte
	cas  uint32
}

// NewShared makes empty shared data.
func NewShared() *Shared { return &Shared{values: map[string]sharedValue{}} }

// Get returns the value of key.
func (s *Shared) Get(key string) (value []byte, ok bool) {
	v, ok := s.get(key)
	return v.data, ok
}

func (s *Shared) get(key string) (sharedValue, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	return v, ok
}

// set stores data unless cas is neither 0 nor the value's own.
func (s *Shared) set(key string, data []byte, cas uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.values[key]
	if cas != 0 && ok && cas != old.cas {
		return false
	}
	s.values[key] = sharedValue{data, old.cas + 1}
	return true
}
