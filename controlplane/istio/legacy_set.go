package istio

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"strconv"
)

// Legacy is an object of a kind that Istio removed. By itself it means nothing: Converter says what the old objects of a Set come to
// together, in today's kinds.
type Legacy struct {
	spec *node // as the schema check left it, never nil
}

// Converter adds to Sets what their objects of old kinds mean in today's. An object that comes out as it did the last time is the same
// value. The zero Converter is ready for use; not safe for concurrent use.
type Converter struct {
	made map[Ref]*made
}

// made is one object of today's kinds that legacy objects came to.
type made struct {
	sum   [sha256.Size]byte
	root  *node // as it was made, before it was decoded
	set   Set   // nothing, if the object is not valid
	diags Diagnostics
	from  []*Object[*Legacy]
}

// Today is Convert for one Set, which may be a result of it: objects that were made of legacy ones are made anew.
func Today(s Set) (Set, Diagnostics) { return new(Converter).Convert(s.Written()) }

// Convert returns a Set that users wrote, with what its legacy objects come to; they stay in. A legacy object, or a part of one, that
// has no counterpart today is a diagnostic.
func (c *Converter) Convert(s Set) (Set, Diagnostics) {
	if len(s.Legacy) == 0 {
		c.made = nil
		return s, nil
	}
	made, diags := c.convert(s)
	var sets []Set
	for _, m := range made {
		sets = append(sets, m.set)
		diags = append(diags, m.diags...)
	}
	all, _ := Concat(sets...)
	diags.Sort()
	return s.Replace(nil, all), diags
}

// Written is the Set without what was made of legacy objects.
func (s Set) Written() Set {
	for _, m := range s.Metas() {
		if m.From != nil {
			return s.Only(func(m *Meta) bool { return m.From == nil })
		}
	}
	return s
}

// convert makes today's objects, sorted by kind and name, and says what happened to the legacy ones.
func (c *Converter) convert(s Set) ([]*made, Diagnostics) {
	run := newConversion(s)
	run.all()
	old := c.made
	c.made = make(map[Ref]*made, len(run.out))
	var out []*made
	for _, d := range run.out {
		ref := d.ref()
		if _, twice := c.made[ref]; twice {
			continue // names are made to differ
		}
		m := old[ref]
		if sum := d.sum(); m == nil || m.sum != sum {
			m = d.decode()
			m.sum = sum
		}
		c.made[ref] = m
		out = append(out, m)
	}
	return out, append(run.diags, run.notices()...)
}

// derived is an object of today's that legacy ones come to, as a tree whose places are theirs.
type derived struct {
	root *node
	from []*Object[*Legacy]
}

func (d *derived) ref() Ref {
	meta := d.root.get("metadata")
	return Ref{Kind: d.root.get("kind").str(), Namespace: cmp.Or(meta.get("namespace").str(), "default"), Name: meta.get("name").str()}
}

func (d *derived) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	d.root.digest(h)
	for _, o := range d.from {
		fmt.Fprintln(h, o.Ref, o.Position)
	}
	h.Sum(sum[:0])
	return sum
}

// digest tells trees apart, places included.
func (n *node) digest(h hash.Hash) {
	fmt.Fprintf(h, "%d %s %s (", n.kind, n.pos, strconv.Quote(n.text))
	for _, f := range n.fields {
		fmt.Fprintf(h, "%s %q", f.pos, f.key)
		f.value.digest(h)
	}
	for _, item := range n.items {
		item.digest(h)
	}
	fmt.Fprint(h, ")")
}

// decode reads the object as if the user had written it.
func (d *derived) decode() *made {
	dec := &decoder{kinds: allKinds()}
	dec.document(d.root.copyOf(), true)
	m := &made{root: d.root, set: dec.set, diags: dec.diags, from: d.from}
	for _, meta := range m.set.Metas() {
		for _, o := range d.from {
			meta.From = append(meta.From, o.Ref)
		}
	}
	return m
}

// decodeLegacy reads an object of an old kind. One that comes to something invalid is left out, like any other object.
func decodeLegacy(o *object, list *[]*Object[*Legacy]) {
	o.topLevel(nil)
	spec := o.root.get("spec")
	if spec == nil || spec.kind == nullNode {
		spec = mapping(o.meta.Position)
	}
	if t := legacySchema(o.kind.Name); t != nil {
		camel(t, spec)
		c := &checker{ref: o.meta.Ref, unknown: Error}
		c.goType(t, spec, "spec")
		o.diags = append(o.diags, c.diags...)
	} else if spec.kind != mapNode {
		o.fail(spec.pos, "spec", "want a mapping, got "+spec.kind.String(), "")
	}
	o.places()
	if o.broken() {
		return
	}
	out := &Object[*Legacy]{Meta: o.meta, Spec: &Legacy{spec: spec}}
	run := newConversion(Set{Legacy: []*Object[*Legacy]{out}})
	run.all()
	for _, d := range run.out {
		for _, found := range d.decode().diags.Errors() {
			found.Object, found.Path = o.meta.Ref, ""
			if !slices.Contains(o.diags, found) {
				o.diags = append(o.diags, found)
			}
		}
	}
	if !o.broken() {
		*list = append(*list, out)
	}
}
