package server

import (
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// ledger maps names to what a proxy has under them. Proxies that see the same mostly have the same, so it is kept as a set that
// many sessions share and the differences from it: what thousands of resources cost a session in memory is next to nothing
// once it has settled. The zero ledger is empty.
type ledger struct {
	base xdsgen.Set
	over map[string]entry
}

// entry stands for a name in the place of what base says.
type entry struct {
	held
	absent bool
}

// get returns what is held under a name; ok is false if there is no such name.
func (l *ledger) get(name string) (h held, ok bool) {
	if e, ok := l.over[name]; ok {
		return e.held, !e.absent
	}
	if r := l.base.Find(name); r != nil {
		return held{r.Version, r}, true
	}
	return held{}, false
}

// at is get without the flag.
func (l *ledger) at(name string) held { h, _ := l.get(name); return h }

func (l *ledger) put(name string, h held) { l.write(name, entry{held: h}) }

func (l *ledger) drop(name string) {
	if l.base.Find(name) == nil {
		delete(l.over, name)
		return
	}
	l.write(name, entry{absent: true})
}

func (l *ledger) write(name string, e entry) {
	if l.over == nil {
		l.over = map[string]entry{}
	}
	l.over[name] = e
}

// each visits every name, in no order, until visit returns false.
func (l *ledger) each(visit func(name string, h held) bool) {
	for r := range l.base.All() {
		if len(l.over) > 0 {
			if _, ok := l.over[r.Name]; ok {
				continue
			}
		}
		if !visit(r.Name, held{r.Version, r}) {
			return
		}
	}
	for name, e := range l.over {
		if !e.absent && !visit(name, e.held) {
			return
		}
	}
}

func (l *ledger) empty() bool {
	empty := true
	l.each(func(string, held) bool { empty = false; return false })
	return empty
}

// differs visits the names under which the ledger and a set differ, until visit returns false; some names perhaps twice.
func (l *ledger) differs(want xdsgen.Set, visit func(name string) bool) {
	more := true
	check := func(name string) {
		if more && !l.agrees(name, want.Find(name)) {
			more = visit(name)
		}
	}
	l.base.Differences(want, check)
	for name := range l.over {
		check(name)
	}
}

// agrees tells whether the ledger has just r under a name; nil: nothing.
func (l *ledger) agrees(name string, r *xdsgen.Resource) bool {
	h, ok := l.get(name)
	if r == nil {
		return !ok
	}
	return ok && h.version == r.Version && h.res != nil
}

// settle keeps the ledger's content and puts it in terms of another set, if that is shorter.
func (l *ledger) settle(want xdsgen.Set) {
	l.base, l.over = rebased(l.base, l.over, want, func(name string) (entry, bool) {
		h, ok := l.get(name)
		return entry{h, !ok}, !l.agrees(name, want.Find(name))
	})
}

// rebased puts what is kept as a set with exceptions in terms of another set, if that is no longer. exception is what stands under
// a name, and whether it is one from want.
func rebased[E any](base xdsgen.Set, over map[string]E, want xdsgen.Set, exception func(name string) (E, bool)) (xdsgen.Set, map[string]E) {
	if len(over) == 0 && base == want || far(base, want, len(over)) {
		return base, over
	}
	out := map[string]E{}
	check := func(name string) {
		if len(out) > len(over) {
			return
		}
		if e, differs := exception(name); differs {
			out[name] = e
		}
	}
	base.Differences(want, check)
	for name := range over {
		check(name)
	}
	switch {
	case len(out) > len(over):
		return base, over
	case len(out) == 0:
		return want, nil
	}
	return want, out
}

// far tells that what is kept as a set with so many exceptions is no shorter in terms of another set: their sizes say so.
func far(base, want xdsgen.Set, exceptions int) bool {
	apart := want.Len() - base.Len()
	return max(apart, -apart) > 2*exceptions
}

// nameSet is a set of names, kept like a ledger.
type nameSet struct {
	base xdsgen.Set
	over map[string]bool
}

func (n *nameSet) has(name string) bool {
	if in, ok := n.over[name]; ok {
		return in
	}
	return n.base.Find(name) != nil
}

func (n *nameSet) add(name string)    { n.write(name, true) }
func (n *nameSet) remove(name string) { n.write(name, false) }

func (n *nameSet) write(name string, in bool) {
	if n.has(name) == in {
		return
	}
	if (n.base.Find(name) != nil) == in {
		delete(n.over, name)
		return
	}
	if n.over == nil {
		n.over = map[string]bool{}
	}
	n.over[name] = in
}

// each visits every name, in no order.
func (n *nameSet) each(visit func(name string)) {
	for r := range n.base.All() {
		if _, out := n.over[r.Name]; !out {
			visit(r.Name)
		}
	}
	for name, in := range n.over {
		if in {
			visit(name)
		}
	}
}

// settle is ledger.settle.
func (n *nameSet) settle(want xdsgen.Set) {
	n.base, n.over = rebased(n.base, n.over, want, func(name string) (bool, bool) {
		in := n.has(name)
		return in, in != (want.Find(name) != nil)
	})
}

func (n *nameSet) equal(o *nameSet) bool {
	a, b, same := 0, 0, true
	n.each(func(name string) { a, same = a+1, same && o.has(name) })
	o.each(func(string) { b++ })
	return same && a == b
}
