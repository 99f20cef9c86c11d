package generated

import "slices"

// Shrink takes away documents, and then parts of those left, as long as fails still does; it asks at most budget times. What is
// given is not changed.
func Shrink(docs []Document, budget int, fails func([]Document) bool) []Document {
	s := &shrinker{docs: slices.Clone(docs), budget: budget, fails: fails}
	for size := max(len(s.docs)/2, 1); ; size /= 2 {
		for at := 0; at < len(s.docs); {
			less := slices.Delete(slices.Clone(s.docs), at, min(at+size, len(s.docs)))
			if s.still(less) {
				s.docs = less
				continue
			}
			at += size
		}
		if size <= 1 {
			break
		}
	}
	for i := range s.docs {
		s.parts(i)
	}
	return s.docs
}

type shrinker struct {
	docs   []Document
	budget int
	fails  func([]Document) bool
}

func (s *shrinker) still(docs []Document) bool {
	if s.budget--; s.budget < 0 {
		return false
	}
	return s.fails(docs)
}

// parts takes away what the i-th document can do without, the largest parts first.
func (s *shrinker) parts(i int) {
	for n := 0; ; {
		copied := Document(Clone(map[string]any(s.docs[i])).(map[string]any))
		var all []place
		for _, root := range []string{"spec", "mesh"} {
			places(copied[root], &all)
		}
		if n >= len(all) || s.budget <= 0 {
			return
		}
		p := all[n]
		switch t := p.tree.(type) {
		case map[string]any:
			delete(t, p.key.(string))
		case []any:
			if len(t) == 1 || !replace(copied, t, p.key.(int)) {
				n++
				continue
			}
		}
		less := slices.Clone(s.docs)
		less[i] = copied
		if s.still(less) {
			s.docs = less
		} else {
			n++
		}
	}
}

// replace takes an item out of a list, wherever in the tree that stands.
func replace(tree any, list []any, item int) bool {
	swap := func(v any) (any, bool) {
		l, ok := v.([]any)
		if !ok || len(l) == 0 || &l[0] != &list[0] {
			return v, replace(v, list, item)
		}
		return slices.Delete(slices.Clone(l), item, item+1), true
	}
	var done bool
	switch t := tree.(type) {
	case Document:
		return replace(map[string]any(t), list, item)
	case map[string]any:
		for k := range t {
			if t[k], done = swap(t[k]); done {
				return true
			}
		}
	case []any:
		for k := range t {
			if t[k], done = swap(t[k]); done {
				return true
			}
		}
	}
	return false
}
