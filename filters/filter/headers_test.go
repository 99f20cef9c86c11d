package filter

import (
	"fmt"
	"slices"
	"testing"
)

type loader struct {
	entries []Header
	loads   int
}

func (l *loader) LoadHeaders() []Header { l.loads++; return slices.Clone(l.entries) }

func sample() []Header {
	return []Header{{":path", "/a"}, {"x", "1"}, {"y", "2"}, {"x", "3"}}
}

func TestHeadersRead(t *testing.T) {
	h := NewHeaders(sample())
	if v, ok := h.Get("x"); v != "1" || !ok {
		t.Errorf("Get: %q %v", v, ok)
	}
	if v, ok := h.Joined("x"); v != "1,3" || !ok {
		t.Errorf("Joined: %q %v", v, ok)
	}
	if v, ok := h.Joined("z"); v != "" || ok {
		t.Errorf("Joined of an absent name: %q %v", v, ok)
	}
	if h.Value("z") != "" {
		t.Error("Value of an absent name is not empty")
	}
}

// Eager and lazy snapshots must show the same, whatever happens in which order.
func TestHeadersLazyEqualsEager(t *testing.T) {
	edits := []func(h *Headers){
		func(h *Headers) { h.Set("x", "9") },
		func(h *Headers) { h.Add("x", "8") },
		func(h *Headers) { h.Remove("x") },
		func(h *Headers) { h.Remove("y") },
		func(h *Headers) { h.Set("new", "7") },
	}
	for a := range edits {
		for b := range edits {
			for c := range edits {
				t.Run(fmt.Sprint(a, b, c), func(t *testing.T) {
					eager, lazy := NewHeaders(sample()), new(Headers)
					l := &loader{entries: sample()}
					lazy.ResetLazy(l)
					for _, i := range []int{a, b, c} {
						edits[i](eager)
						edits[i](lazy)
					}
					if l.loads != 0 {
						t.Error("an edit took the snapshot")
					}
					if !slices.Equal(eager.All(), lazy.All()) {
						t.Errorf("eager %v, lazy %v", eager.All(), lazy.All())
					}
					if got := replay(sample(), lazy.TakeEdits()); !slices.Equal(got, eager.All()) {
						t.Errorf("replayed %v, want %v", got, eager.All())
					}
					if len(lazy.TakeEdits()) != 0 {
						t.Error("edits are taken twice")
					}
				})
			}
		}
	}
}

func replay(entries []Header, edits []Edit) []Header {
	for _, e := range edits {
		if e.Op != EditAdd {
			entries = slices.DeleteFunc(entries, func(h Header) bool { return h.Name == e.Name })
		}
		if e.Op != EditRemove {
			entries = append(entries, Header{e.Name, e.Value})
		}
	}
	return entries
}

func TestHeadersSnapshotAfterWrittenEdits(t *testing.T) {
	l := &loader{entries: sample()}
	h := new(Headers)
	h.ResetLazy(l)
	h.Add("x", "4")
	l.entries = replay(l.entries, h.TakeEdits()) // the host writes them
	h.Remove("y")
	if v, _ := h.Joined("x"); v != "1,3,4" {
		t.Errorf("x is %q: written edits were applied twice, or not at all", v)
	}
	if _, ok := h.Get("y"); ok {
		t.Error("y came back with the snapshot")
	}
	if e := h.TakeEdits(); len(e) != 1 || e[0].Name != "y" {
		t.Errorf("edits %v", e)
	}
	if l.loads != 1 {
		t.Errorf("%d snapshots", l.loads)
	}
}

func TestHeadersRemoveAbsentIsNoEdit(t *testing.T) {
	h := NewHeaders(sample())
	h.Remove("z")
	if e := h.TakeEdits(); len(e) != 0 {
		t.Errorf("edits %v", e)
	}
}

func TestHeadersReset(t *testing.T) {
	h := NewHeaders(sample())
	h.Set("x", "9")
	h.TakeEdits()
	h.Reset([]Header{{"k", "v"}})
	h.Set("k", "w")
	if e := h.TakeEdits(); len(e) != 1 || h.Value("k") != "w" || h.Value("x") != "" {
		t.Errorf("after Reset: edits %v, entries %v", e, h.All())
	}
}
