package istio

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// Decoded is a file as it was read: what it holds, and of which document each object is. Nil: nothing was read before.
type Decoded struct {
	Set         Set
	Diagnostics Diagnostics
	docs        map[docKey]*decodedDoc // nil if there is only one
}

// docKey is a document's content and place: objects know their lines.
type docKey struct {
	sum  [sha256.Size]byte
	line int
}

type decodedDoc struct {
	set   Set
	diags Diagnostics
}

// DecodeAgain is Decode of a file that may have been read before: the objects of documents that stand where they stood, as they
// were, are the same values as in old.
func DecodeAgain(src, text string, old *Decoded) *Decoded {
	if len(text) > maxFile {
		return &Decoded{Diagnostics: Diagnostics{{Code: CodeTooLarge, Severity: Error, Position: Position{File: src}, Message: "larger than 64 MiB"}}}
	}
	docs := split(text)
	out := &Decoded{}
	if len(docs) > 1 {
		out.docs = make(map[docKey]*decodedDoc, len(docs))
	}
	var all decoder
	kinds := allKinds()
	var lines []string
	for _, doc := range docs {
		var key docKey
		if out.docs != nil {
			key = docKey{sha256.Sum256([]byte(doc.text)), doc.line}
		}
		var part *decodedDoc
		if old != nil && out.docs != nil {
			part = old.docs[key]
		}
		if part == nil {
			if lines == nil {
				lines = strings.Split(text, "\n")
			}
			part = doc.decode(src, &decoder{kinds: kinds, lines: lines})
		}
		if out.docs != nil {
			out.docs[key] = part
		}
		set := part.set
		if m := set.Mesh; m != nil && all.set.Mesh != nil {
			all.diags = append(all.diags, Diagnostic{
				Code: CodeDuplicate, Severity: Error, Object: m.Ref, Position: m.Position, Message: "stands a second time; the first one counts", Fix: "keep one",
			})
			set.Mesh = nil
		}
		all.set.join(set)
		all.diags = append(all.diags, part.diags...)
	}
	set, twice := Concat(all.set)
	out.Set, out.Diagnostics = set, append(all.diags, twice...)
	out.Diagnostics.Sort()
	return out
}

func (d document) decode(src string, into *decoder) *decodedDoc {
	root, diags := d.parse(src)
	into.diags = slices.Clone(diags)
	if root != nil {
		into.document(root, worst(diags) < Error)
	}
	return &decodedDoc{into.set, into.diags}
}

// Replace returns the set without the objects in gone and with those of come, none of which it has otherwise. It must be
// sorted, and is; a list in which nothing changes is the same slice.
func (s Set) Replace(gone map[Ref]bool, come Set) Set {
	mine, theirs := s.lists(), come.lists()
	for i := range mine {
		mine[i].replace(gone, theirs[i])
	}
	if s.Mesh != nil && gone[s.Mesh.Ref] {
		s.Mesh = nil
	}
	if come.Mesh != nil {
		s.Mesh = come.Mesh
	}
	s.Others = replaceRefs(s.Others, func(m *Meta) Ref { return m.Ref }, gone, come.Others)
	return s
}

func (l listOf[T]) replace(gone map[Ref]bool, come list) {
	*l.at = replaceRefs(*l.at, func(o *Object[T]) Ref { return o.Ref }, gone, *come.(listOf[T]).at)
}

func replaceRefs[T any](list []*T, ref func(*T) Ref, gone map[Ref]bool, come []*T) []*T {
	search := func(r Ref) (int, bool) {
		return slices.BinarySearchFunc(list, r, func(o *T, r Ref) int { return ref(o).Compare(r) })
	}
	own := false
	change := func() {
		if !own {
			list, own = slices.Clone(list), true
		}
	}
	come = slices.Clone(come)
	for r := range gone {
		at, found := search(r)
		if !found {
			continue
		}
		change()
		if i := slices.IndexFunc(come, func(o *T) bool { return ref(o) == r }); i >= 0 {
			list[at] = come[i]
			come = slices.Delete(come, i, i+1)
		} else {
			list = slices.Delete(list, at, at+1)
		}
	}
	for _, o := range come {
		change()
		at, _ := search(ref(o))
		list = slices.Insert(list, at, o)
	}
	return list
}
