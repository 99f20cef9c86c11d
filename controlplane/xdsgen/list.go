package xdsgen

import (
	"cmp"
	"iter"
	"slices"
	"sort"
	"sync"
)

// chunkSize is about how many resources of a List stand together: what a change of one of them copies.
const chunkSize = 128

// List is an immutable set of resources sorted by name. A List made from another by With shares with it all that is far from
// the change, so that keeping, comparing and copying lists of thousands costs little. The zero List is empty.
//
// Lists are comparable: == tells cheaply that two are the same, and is false for some that are.
type List struct{ top *top }

// top is immutable; nil is empty.
type top struct {
	chunks []*chunk // none is empty
	n      int
}

type chunk struct {
	rs []*Resource

	once   sync.Once
	frames []byte // of all of them, once asked for
}

// bytes are the frames of the chunk's resources in one piece: what goes to many proxies as a whole is put together once.
func (c *chunk) bytes() []byte {
	c.once.Do(func() {
		size := 0
		for _, r := range c.rs {
			size += len(r.Frame())
		}
		c.frames = make([]byte, 0, size)
		for _, r := range c.rs {
			c.frames = append(c.frames, r.Frame()...)
		}
	})
	return c.frames
}

// NewList makes a List of resources sorted by name, each name once. It takes no hold of the slice.
func NewList(sorted []*Resource) List {
	if len(sorted) == 0 {
		return List{}
	}
	t := &top{n: len(sorted)}
	for part := range slices.Chunk(sorted, chunkSize) {
		t.chunks = append(t.chunks, &chunk{rs: slices.Clone(part)})
	}
	return List{t}
}

func (l List) chunks() []*chunk {
	if l.top == nil {
		return nil
	}
	return l.top.chunks
}

// Len is the number of resources.
func (l List) Len() int {
	if l.top == nil {
		return 0
	}
	return l.top.n
}

// All visits the resources by name.
func (l List) All() iter.Seq[*Resource] {
	return func(yield func(*Resource) bool) {
		for _, c := range l.chunks() {
			for _, r := range c.rs {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Find returns the resource of a name, nil if there is none.
func (l List) Find(name string) *Resource {
	if l.top == nil {
		return nil
	}
	return l.top.find(name)
}

func (t *top) find(name string) *Resource {
	i := t.chunkOf(name)
	if i == len(t.chunks) {
		return nil
	}
	if j, ok := t.chunks[i].search(name); ok {
		return t.chunks[i].rs[j]
	}
	return nil
}

// chunkOf is the first chunk whose last name is not before name.
func (t *top) chunkOf(name string) int {
	return sort.Search(len(t.chunks), func(i int) bool { rs := t.chunks[i].rs; return rs[len(rs)-1].Name >= name })
}

func (c *chunk) search(name string) (int, bool) {
	return slices.BinarySearchFunc(c.rs, name, func(r *Resource, n string) int { return cmp.Compare(r.Name, n) })
}

// With returns the list with set in the place of what had their names, or added, and without the names in gone.
func (l List) With(set []*Resource, gone []string) List {
	var t *top // l's copy, once something changes
	own := func() *top {
		if t == nil {
			t = &top{chunks: slices.Clone(l.chunks()), n: l.Len()}
			l = List{t}
		}
		return t
	}
	for _, r := range set {
		if l.Find(r.Name) != r {
			own().put(r)
		}
	}
	for _, name := range gone {
		if l.Find(name) != nil {
			own().drop(name)
		}
	}
	if l.Len() == 0 {
		return List{}
	}
	return l
}

// put and drop change a top that nobody else has seen yet; chunks are shared and are copied.
func (t *top) put(r *Resource) {
	if len(t.chunks) == 0 {
		t.chunks, t.n = []*chunk{{rs: []*Resource{r}}}, 1
		return
	}
	i := min(t.chunkOf(r.Name), len(t.chunks)-1)
	rs := slices.Clone(t.chunks[i].rs)
	j, there := t.chunks[i].search(r.Name)
	if there {
		rs[j] = r
	} else {
		rs = slices.Insert(rs, j, r)
		t.n++
	}
	if len(rs) < 2*chunkSize {
		t.chunks[i] = &chunk{rs: rs}
		return
	}
	half := len(rs) / 2
	t.chunks[i] = &chunk{rs: rs[:half:half]}
	t.chunks = slices.Insert(t.chunks, i+1, &chunk{rs: rs[half:]})
}

func (t *top) drop(name string) {
	i := t.chunkOf(name)
	j, _ := t.chunks[i].search(name)
	rs := slices.Delete(slices.Clone(t.chunks[i].rs), j, j+1)
	t.n--
	if len(rs) == 0 {
		t.chunks = slices.Delete(t.chunks, i, i+1)
		return
	}
	t.chunks[i] = &chunk{rs: rs}
}

// Differences tells, once each, the names whose resources differ in version between two lists, or that only one has. Where the
// lists share parts, these are not looked into.
func Differences(old, now List, tell func(name string)) {
	if old == now {
		return
	}
	a, b := cursor{chunks: old.chunks()}, cursor{chunks: now.chunks()}
	for a.more() && b.more() {
		if a.at == 0 && b.at == 0 && a.chunks[a.chunk] == b.chunks[b.chunk] {
			a.skip()
			b.skip()
			continue
		}
		x, y := a.get(), b.get()
		switch {
		case x.Name == y.Name:
			if x != y && x.Version != y.Version {
				tell(x.Name)
			}
			a.next()
			b.next()
		case x.Name < y.Name:
			tell(x.Name)
			a.next()
		default:
			tell(y.Name)
			b.next()
		}
	}
	for ; a.more(); a.next() {
		tell(a.get().Name)
	}
	for ; b.more(); b.next() {
		tell(b.get().Name)
	}
}

// cursor walks a List.
type cursor struct {
	chunks    []*chunk
	chunk, at int
}

func (c *cursor) more() bool     { return c.chunk < len(c.chunks) }
func (c *cursor) get() *Resource { return c.chunks[c.chunk].rs[c.at] }
func (c *cursor) skip()          { c.chunk, c.at = c.chunk+1, 0 }

func (c *cursor) next() {
	if c.at++; c.at == len(c.chunks[c.chunk].rs) {
		c.skip()
	}
}

// Set is the resources of one type for one proxy: what it shares with the proxies like it, and its own. No name is in both.
type Set struct{ Shared, Own List }

// Find returns the resource of a name, nil if there is none.
func (s Set) Find(name string) *Resource {
	if r := s.Own.Find(name); r != nil {
		return r
	}
	return s.Shared.Find(name)
}

// Len is the number of resources.
func (s Set) Len() int { return s.Shared.Len() + s.Own.Len() }

// All visits the resources, those shared first.
func (s Set) All() iter.Seq[*Resource] {
	return func(yield func(*Resource) bool) {
		for _, l := range []List{s.Shared, s.Own} {
			for r := range l.All() {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// Frames visits what the Frame of every resource comes to, in large pieces. They are made once and are not to be changed.
func (s Set) Frames() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, l := range []List{s.Shared, s.Own} {
			for _, c := range l.chunks() {
				if !yield(c.bytes()) {
					return
				}
			}
		}
	}
}

// Differences is Differences of the lists; some names perhaps twice.
func (s Set) Differences(now Set, tell func(name string)) {
	Differences(s.Shared, now.Shared, tell)
	Differences(s.Own, now.Own, tell)
}

// Lists are resources of every type.
type Lists struct {
	Clusters, Endpoints, Listeners, Routes, Secrets, Extensions List
	// VirtualHosts is for delta clients; to others the Routes hold them.
	VirtualHosts List
}

// Lists arranges what Build made: for a delta client, or for one of the state of the world.
func (r *Resources) Lists(delta bool) Lists {
	out := Lists{
		Clusters: NewList(r.Clusters), Endpoints: NewList(r.Endpoints), Listeners: NewList(r.Listeners), Secrets: NewList(r.Secrets),
		Extensions: NewList(r.Extensions),
	}
	if delta {
		out.Routes, out.VirtualHosts = NewList(r.Routes), NewList(r.VirtualHosts)
	} else {
		out.Routes = NewList(r.InlineRoutes)
	}
	return out
}

// Sets is all that one proxy is to have.
type Sets struct {
	Clusters, Endpoints, Listeners, Routes, Secrets, Extensions, VirtualHosts Set
	// Names is the table of names, for an agent; what builds the others leaves it empty.
	Names Set
}

// Join is what a proxy shares with those like it, and its own.
func Join(shared, own Lists) *Sets {
	return &Sets{
		Clusters:     Set{shared.Clusters, own.Clusters},
		Endpoints:    Set{shared.Endpoints, own.Endpoints},
		Listeners:    Set{shared.Listeners, own.Listeners},
		Routes:       Set{shared.Routes, own.Routes},
		Secrets:      Set{shared.Secrets, own.Secrets},
		Extensions:   Set{shared.Extensions, own.Extensions},
		VirtualHosts: Set{shared.VirtualHosts, own.VirtualHosts},
	}
}

// Sets is what a proxy has that shares nothing.
func (r *Resources) Sets(delta bool) *Sets { return Join(Lists{}, r.Lists(delta)) }
