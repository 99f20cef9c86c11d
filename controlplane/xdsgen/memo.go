package xdsgen

import (
	"runtime"
	"weak"
)

// memo returns the Resource made of in before, or makes it. make must be a function of in alone: in is the cache key,
// and a free variable would be a key that nobody declared.
func memo[T any](b *Builder, kind string, in T, make func(T) (*Resource, error)) (*Resource, error) {
	key, err := digestOf(kind, in)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	known := b.parts[key].Value()
	b.mu.Unlock()
	if known != nil {
		return known, nil
	}
	made, err := make(in)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known = b.parts[key].Value(); known != nil {
		return known, nil
	}
	b.parts[key] = weak.Make(made)
	runtime.AddCleanup(made, b.forget, key)
	return made, nil
}

// forget drops a part whose Resource was collected, unless it has been made again since.
func (b *Builder) forget(key digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.parts[key].Value() == nil {
		delete(b.parts, key)
	}
}

// partKey is a part of the model by identity, and all else that its Resource is made of.
type partKey[P any, C comparable] struct {
	kind string
	part weak.Pointer[P]
	ctx  C
}

// recall returns the Resource made of this very part before, or has it made. Parts are immutable, so the same pointer
// means the same content; proxies that see the same part share the pointer, and most Builds look at nothing else.
func recall[P any, C comparable](b *Builder, kind string, part *P, ctx C, make func() (*Resource, error)) (*Resource, error) {
	key := partKey[P, C]{kind, weak.Make(part), ctx}
	b.mu.Lock()
	r := b.known[key]
	b.mu.Unlock()
	if r != nil {
		return r, nil
	}
	r, err := make()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.known[key]; !ok {
		runtime.AddCleanup(part, b.forgetPart, any(key))
	}
	b.known[key] = r
	return r, nil
}

func (b *Builder) forgetPart(key any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, key)
}
