package kube

import (
	"fmt"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// state is what is in force.
type state struct {
	now     func() time.Time
	set     istio.Set
	objects map[istio.Ref]object
	noisy   map[istio.Ref]istio.Diagnostics // of objects that have any
	legacy  istio.Converter
}

// object is what is in force of one: its metadata in the set (nil: nothing, for it is broken), and since when.
type object struct {
	meta  *istio.Meta
	since time.Time
}

func newState(now func() time.Time) state {
	return state{now: now, objects: map[istio.Ref]object{}, noisy: map[istio.Ref]istio.Diagnostics{}}
}

// apply takes up what was read, and says whether anything is different.
func (s *state) apply(pending map[istio.Ref]*read) bool {
	changed := false
	gone := map[istio.Ref]bool{}
	var come []istio.Set
	for ref, r := range pending {
		old, known := s.objects[ref]
		if r == nil {
			if known {
				changed = true
				gone[ref] = old.meta != nil
				delete(s.objects, ref)
				delete(s.noisy, ref)
			}
			continue
		}
		changed = true
		diags := r.diags
		if metas := r.set.Metas(); len(metas) > 0 {
			gone[ref] = old.meta != nil
			come = append(come, r.set)
			s.objects[ref] = object{metas[0], s.now()}
		} else {
			s.objects[ref] = old
			if old.meta != nil {
				diags = append(diags[:len(diags):len(diags)], kept(ref, old.since))
			}
		}
		s.tell(ref, diags)
	}
	s.replace(gone, come)
	return changed
}

func (s *state) tell(ref istio.Ref, diags istio.Diagnostics) {
	if len(diags) == 0 {
		delete(s.noisy, ref)
		return
	}
	s.noisy[ref] = diags
}

// kept tells of an object whose last good version stays.
func kept(ref istio.Ref, since time.Time) istio.Diagnostic {
	return istio.Diagnostic{
		Code: istio.CodeKept, Severity: istio.Warning, Object: ref,
		Message: fmt.Sprintf("kept as of %s: the previous version stays in force", since.Format(time.RFC3339)),
	}
}

func (s *state) replace(gone map[istio.Ref]bool, come []istio.Set) {
	if len(come) > len(s.objects)/4+4 { // as at first: Replace is for a few
		s.set = s.set.Only(func(m *istio.Meta) bool { return !gone[m.Ref] })
		s.set, _ = istio.Concat(append(come, s.set)...)
		return
	}
	all, _ := istio.Concat(come...)
	s.set = s.set.Replace(gone, all)
}

// snapshot gives what is in force. What a change does not touch is the same value as before.
func (s *state) snapshot() (istio.Set, istio.Diagnostics) {
	set, diags := s.legacy.Convert(s.set)
	diags = diags[:len(diags):len(diags)]
	for _, ds := range s.noisy {
		diags = append(diags, ds...)
	}
	diags.Sort()
	return set, diags
}
