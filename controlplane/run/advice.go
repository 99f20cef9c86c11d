package run

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// adviser says what the mesh would make of an object, for the validating webhook. It compiles beside the publisher, which publishes
// nothing of it.
type adviser struct {
	current func() (set istio.Set, in compile.Inputs, next <-chan struct{}, ok bool)

	mu       sync.Mutex // of one that compiles
	compiler compile.Incremental
}

// Bounds of advice: it is worth less than an answer in time.
const (
	adviceTime    = 2 * time.Second
	adviceObjects = 20000
	// adviceLag is how long news may be on its way: what an object names may have been stored a moment before it, by the same kubectl.
	adviceLag = 500 * time.Millisecond
)

// about returns the diagnostics that compiling gives of the objects of a Set if they were in force; nil if that takes too long, or
// another object is being looked at for that long.
func (a *adviser) about(ctx context.Context, object istio.Set) istio.Diagnostics {
	ctx, cancel := context.WithTimeout(ctx, adviceTime)
	defer cancel()
	late := time.After(adviceLag)
	var out istio.Diagnostics
	for {
		ds, next := a.once(ctx, object)
		if ctx.Err() == nil {
			out = ds
		}
		if len(ds) == 0 {
			return out
		}
		select {
		case <-next:
		case <-late:
			return out
		case <-ctx.Done():
			return out
		}
	}
}

// once compiles with what is known now; next is closed when more is.
func (a *adviser) once(ctx context.Context, object istio.Set) (ds istio.Diagnostics, next <-chan struct{}) {
	set, in, next, ok := a.current()
	if !ok || len(set.Metas()) > adviceObjects {
		return nil, nil
	}
	said := make(chan istio.Diagnostics, 1)
	go func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if ctx.Err() == nil { // else nobody waits for it
			said <- a.compile(set, in, object)
		}
	}()
	select {
	case <-ctx.Done():
		return nil, next
	case ds := <-said:
		return ds, next
	}
}

func (a *adviser) compile(set istio.Set, in compile.Inputs, object istio.Set) (out istio.Diagnostics) {
	mine := map[istio.Ref]bool{}
	for _, m := range object.Metas() {
		mine[m.Ref] = true
	}
	in.Set = set.Replace(mine, object)
	ds, err := a.world(in)
	if err != nil {
		return nil // the publisher will say so, if it is let in
	}
	for _, d := range ds {
		if mine[d.Object] {
			out = append(out, d)
		}
	}
	return out
}

func (a *adviser) world(in compile.Inputs) (ds istio.Diagnostics, err error) {
	defer func() {
		if v := recover(); v != nil {
			a.compiler, err = compile.Incremental{}, fmt.Errorf("compile: panic: %v", v)
		}
	}()
	_, ds = a.compiler.World(in)
	return ds, nil
}

// current is what the publisher has, with which an object is compiled, and next is closed once there is something else; ok is false
// before it has anything.
func (p *publisher) current() (set istio.Set, in compile.Inputs, next <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set, p.inputs, p.next, p.world != nil
}
