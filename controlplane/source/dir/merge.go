package dir

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// merged is what the files in force come to. A change of some files costs what they hold, not what all do.
type merged struct {
	set    istio.Set
	claims map[istio.Ref][]claim
	twice  map[istio.Ref]istio.Diagnostics // of objects that stand a second time
	noisy  map[string]*file                // files with diagnostics
	won    map[istio.Ref]*istio.Meta       // what of an object is in set
	legacy istio.Converter
}

// claim is an object as a file has it.
type claim struct {
	path int
	file *file
	meta *istio.Meta
}

func newMerged() merged {
	return merged{
		claims: map[istio.Ref][]claim{}, twice: map[istio.Ref]istio.Diagnostics{}, noisy: map[string]*file{}, won: map[istio.Ref]*istio.Meta{},
	}
}

// snapshot takes up the files that changed and gives what is in force. What a change does not touch is the same value as before.
func (s *state) snapshot() (istio.Set, istio.Diagnostics) {
	open := map[istio.Ref]bool{}
	for name, old := range s.dirty {
		s.swap(old, s.files[name], open)
	}
	clear(s.dirty)
	s.decide(open)
	var diags istio.Diagnostics
	for _, f := range s.noisy {
		diags = append(diags, f.diags...)
	}
	for _, ds := range s.twice {
		diags = append(diags, ds...)
	}
	set, converted := s.legacy.Convert(s.set)
	diags = append(diags, converted...)
	diags.Sort()
	return set, diags
}

// swap takes the claims of a file in the place of an older one's; open gets the objects about which is to be decided anew.
func (m *merged) swap(old, now *file, open map[istio.Ref]bool) {
	var was, is []*istio.Meta
	if old != nil {
		was = old.set.Metas()
		delete(m.noisy, old.name)
	}
	if now != nil {
		is = now.set.Metas()
		if len(now.diags) > 0 {
			m.noisy[now.name] = now
		}
	}
	if old != nil && now != nil && slices.Equal(old.paths, now.paths) {
		was, is = ends(was, is)
	}
	for _, meta := range was {
		open[meta.Ref] = true
		m.claims[meta.Ref] = slices.DeleteFunc(m.claims[meta.Ref], func(c claim) bool { return c.meta == meta && c.file.name == old.name })
	}
	for _, meta := range is {
		open[meta.Ref] = true
		for _, p := range now.paths {
			m.claims[meta.Ref] = append(m.claims[meta.Ref], claim{p, now, meta})
		}
	}
}

// ends cuts off what two lists have in common at both ends.
func ends(a, b []*istio.Meta) (x, y []*istio.Meta) {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// decide finds which version of an object counts: of the last path that has it, the first file's; none, if that deletes it.
func (m *merged) decide(open map[istio.Ref]bool) {
	gone := map[istio.Ref]bool{}
	var come []istio.Set
	for ref := range open {
		list := m.claims[ref]
		delete(m.twice, ref)
		slices.SortStableFunc(list, func(a, b claim) int {
			return cmp.Or(cmp.Compare(b.path, a.path), strings.Compare(rank(a.file.name), rank(b.file.name)))
		})
		var winner *claim
		for i := range list {
			if i > 0 && list[i].path == list[i-1].path {
				m.twice[ref] = append(m.twice[ref], secondTime(list, i))
			}
		}
		if len(list) > 0 && list[0].meta.Annotations[istio.AnnotationDeleted] != "true" {
			winner = &list[0]
		}
		if len(list) == 0 {
			delete(m.claims, ref)
		}
		switch {
		case winner == nil && m.won[ref] == nil:
		case winner == nil:
			gone[ref] = true
			delete(m.won, ref)
		case m.won[ref] != winner.meta:
			gone[ref] = m.won[ref] != nil
			m.won[ref] = winner.meta
			come = append(come, winner.file.set.Only(func(x *istio.Meta) bool { return x == winner.meta }))
		}
	}
	if len(come) > len(m.won)/4+4 { // as at first: Replace is for a few
		m.set = m.set.Only(func(x *istio.Meta) bool { return m.won[x.Ref] == x })
		m.set, _ = istio.Concat(append(come, m.set)...)
		return
	}
	all, _ := istio.Concat(come...)
	m.set = m.set.Replace(gone, all)
}

// secondTime tells of an object that an earlier file of the same path has.
func secondTime(list []claim, i int) istio.Diagnostic {
	first := slices.IndexFunc(list, func(c claim) bool { return c.path == list[i].path })
	meta := list[i].meta
	return istio.Diagnostic{
		Code: istio.CodeDuplicate, Severity: istio.Error, Object: meta.Ref, Position: meta.Position,
		Message: fmt.Sprintf("stands a second time; the one at %s counts", list[first].meta.Position), Fix: "keep one, or rename one",
	}
}

// rank orders files as a directory is walked: name by name.
func rank(name string) string { return strings.ReplaceAll(name, "/", "\x00") }
