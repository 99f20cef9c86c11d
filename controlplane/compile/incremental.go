package compile

import (
	"reflect"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Incremental compiles one Set after another. The function World is the specification of what comes out, diagnostics included;
// what a change does not bear on is not made again, and stays the same value. An object of a Set that is the same value as in the
// Set before has not changed. Not safe for concurrent use. The zero Incremental is ready for use.
//
// It works by compiling, with the very code of World, a small Set: the objects whose outcome a change may alter, and all that
// these look at. Which those are is said by tokens, see tokens.go: what an object may look up, it uses; where others may find it,
// it defines. Kinds of which there are few in any mesh, or of which nothing is known here, are compiled whole when they change.
type Incremental struct {
	in    Inputs
	world *mesh.World // nil: begin anew
	diags istio.Diagnostics
	// odd: the World has parts of which is not known how they are taken out and put in. Everything is made anew then.
	odd   bool
	steps int // Worlds that were not made whole
	nodes map[istio.Ref]*node
	graph graph
}

// node is one object of the Set.
type node struct {
	meta          *istio.Meta
	put           func(*istio.Set) // adds the object to a Set; nil for objects of whole kinds
	uses, defines []token
	scans         bool // its diagnostics looked at the names of all services
	parts         parts
}

// World compiles in.
func (x *Incremental) World(in Inputs) (*mesh.World, istio.Diagnostics) {
	in.Set = discovered(in)
	if x.world != nil && !x.odd {
		world, diags := x.world, x.diags
		x.world = nil // should this end in a panic, the next time begins anew
		if w, ds, ok := x.step(world, diags, in); ok {
			x.in, x.world, x.diags = in, w, ds
			x.steps++
			return w, ds
		}
		x.world = world
	}
	return x.whole(in)
}

// whole compiles everything.
func (x *Incremental) whole(in Inputs) (*mesh.World, istio.Diagnostics) {
	old := x.world
	x.world = nil
	c := newCompiler(in)
	w, ds := c.run(in)
	Reuse(old, w)
	x.index(in.Set, w, c.scanned)
	x.in, x.world, x.diags, x.odd = in, w, ds, oddParts(w)
	return w, ds
}

// index makes the nodes and the graph of a Set and of what became of it.
func (x *Incremental) index(set istio.Set, w *mesh.World, scanned map[istio.Ref]bool) {
	x.nodes, x.graph = map[istio.Ref]*node{}, newGraph()
	t := &tokens{c: &compiler{set: set, world: w}}
	each := func(n *node) {
		n.scans = scanned[n.meta.Ref]
		x.nodes[n.meta.Ref] = n
		x.graph.add(n)
	}
	compareLists(istio.Set{}, set, t, func(_, is *node, _ bool) { each(is) })
	for _, n := range t.wholes(set) {
		x.nodes[n.meta.Ref] = n // of whole kinds, one node stands for all of a name
		x.graph.add(n)
	}
	partsOf(w).deal(func(ref istio.Ref) *parts {
		if n := x.nodes[ref]; n != nil {
			return &n.parts
		}
		return nil
	})
}

func refOf(o mesh.Origin) istio.Ref {
	return istio.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// change is an object that came (was nil), went (is nil) or was edited.
type change struct {
	was, is *node
	shape   bool // what others see of it without looking inside is different
}

// step makes the next World from the last one. False: it has to be made whole.
func (x *Incremental) step(old *mesh.World, diags istio.Diagnostics, in Inputs) (*mesh.World, istio.Diagnostics, bool) {
	if !reflect.DeepEqual(withSet(in, istio.Set{}), withSet(x.in, istio.Set{})) || !sameWholes(x.in.Set, in.Set) {
		return nil, nil, false
	}
	t := &tokens{c: &compiler{set: in.Set, world: old}}
	var changes []change
	sorted := compareLists(x.in.Set, in.Set, t, func(was, is *node, shape bool) {
		changes = append(changes, change{was, is, shape})
	})
	if !sorted || len(changes) > len(x.nodes)/8+16 {
		return nil, nil, false
	}
	if len(changes) == 0 {
		return old, diags, true
	}
	hit := x.touch(changes)
	if hit == nil || len(hit.live) > len(x.nodes)/4+64 {
		return nil, nil, false
	}
	in = withSet(in, x.context(hit, in.Set))
	c := newCompiler(in)
	c.all = func(mine []*mesh.Service) []*mesh.Service { return hit.services(old, mine) }
	w, ds := c.run(in)
	next, ok := x.splice(old, w, hit)
	if !ok {
		return nil, nil, false
	}
	for n := range hit.live {
		if scans := c.scanned[n.meta.Ref]; scans != n.scans {
			x.graph.remove(n)
			n.scans = scans
			x.graph.add(n)
		}
	}
	return next, hit.diagnostics(diags, ds), true
}

func withSet(in Inputs, s istio.Set) Inputs { in.Set = s; return in }

// affected are the objects whose outcome may be different.
type affected struct {
	refs map[istio.Ref]bool // those that are gone included
	live map[*node]bool
	gone []*node // and those that live nodes stand in the place of
}

// touch takes the changes into the graph and finds what they bear on. Nil: an object of a whole kind is among them.
func (x *Incremental) touch(changes []change) *affected {
	hit := &affected{refs: map[istio.Ref]bool{}, live: map[*node]bool{}}
	var queue []*node
	reach := func(n *node) {
		if !hit.live[n] {
			hit.live[n], hit.refs[n.meta.Ref] = true, true
			queue = append(queue, n)
		}
	}
	var touched []token
	had := presence{}
	for _, ch := range changes {
		if ch.is != nil {
			had.note(ch.is, x.graph)
		}
		if ch.was != nil {
			n := x.nodes[ch.was.meta.Ref]
			if n == nil {
				return nil
			}
			had.note(n, x.graph)
			hit.gone = append(hit.gone, n)
			hit.refs[n.meta.Ref] = true
			x.graph.remove(n)
			delete(x.nodes, n.meta.Ref)
			touched = appendTouched(touched, n, ch.shape)
		}
	}
	for _, ch := range changes {
		if ch.is != nil {
			x.nodes[ch.is.meta.Ref] = ch.is
			x.graph.add(ch.is)
			reach(ch.is)
			touched = appendTouched(touched, ch.is, ch.shape)
		}
	}
	touched = slices.DeleteFunc(touched, func(t token) bool { return had.same(t, x.graph) })
	for {
		for _, t := range touched {
			for n := range x.graph.uses[t] {
				if n.put == nil {
					return nil
				}
				reach(n)
			}
		}
		if len(queue) == 0 {
			return hit
		}
		touched = touched[:0]
		for _, n := range queue {
			touched = appendTouched(touched, n, false)
		}
		queue = queue[:0]
	}
}

// presence tells which tokens something defined before a change, of those that only this is looked at of.
type presence map[token]bool

func (p presence) note(n *node, g graph) {
	for _, t := range n.defines {
		if _, seen := p[t]; t.kind.presence() && !seen {
			p[t] = len(g.defines[t]) > 0
		}
	}
}

// same tells whether the change makes no difference to what uses the token.
func (p presence) same(t token, g graph) bool {
	had, noted := p[t]
	return noted && had == (len(g.defines[t]) > 0)
}

func appendTouched(ts []token, n *node, shape bool) []token {
	for _, t := range n.defines {
		if shape || !t.kind.shape() {
			ts = append(ts, t)
		}
	}
	return ts
}

// context is a Set with the objects that are to be made anew and all that they look at; objects of whole kinds are all in it, but
// for those kinds that no other looks at.
func (x *Incremental) context(hit *affected, set istio.Set) istio.Set {
	out := wholeLists(set)
	seen := map[*node]bool{}
	queue := make([]*node, 0, len(hit.live))
	take := func(n *node) {
		if !seen[n] && n.put != nil {
			seen[n] = true
			n.put(&out)
			queue = append(queue, n)
		}
	}
	for n := range hit.live {
		take(n)
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, t := range n.uses {
			for d := range x.graph.defines[t] {
				take(d)
			}
		}
	}
	return out
}

// diagnostics takes those of what was made anew in the place of what they were.
func (a *affected) diagnostics(old, made istio.Diagnostics) istio.Diagnostics {
	mine := func(d istio.Diagnostic) bool { return a.refs[d.Object] }
	if !slices.ContainsFunc(old, mine) && !slices.ContainsFunc(made, mine) {
		return old
	}
	out := make(istio.Diagnostics, 0, len(old)+4)
	for _, d := range old {
		if !mine(d) {
			out = append(out, d)
		}
	}
	for _, d := range made {
		if mine(d) {
			out = append(out, d)
		}
	}
	out.Sort()
	return out
}

// services are all services of the mesh, while only some are made anew.
func (a *affected) services(old *mesh.World, made []*mesh.Service) []*mesh.Service {
	var out []*mesh.Service
	for _, s := range old.Services {
		if !a.refs[refOf(s.Origin)] {
			out = append(out, s)
		}
	}
	for _, s := range made {
		if a.refs[refOf(s.Origin)] {
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, compareServices)
	return out
}

// sameWholes tells whether the objects of whole kinds are the same values.
func sameWholes(a, b istio.Set) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range x.NumField() {
		if name := x.Type().Field(i).Name; traced[name] || name == "Legacy" { // of legacy objects only what they come to counts
			continue
		}
		p, q := x.Field(i), y.Field(i)
		if p.Kind() != reflect.Slice {
			if !p.Equal(q) {
				return false
			}
			continue
		}
		if p.Len() != q.Len() {
			return false
		}
		for j := range p.Len() {
			if p.Index(j).Pointer() != q.Index(j).Pointer() {
				return false
			}
		}
	}
	return true
}
