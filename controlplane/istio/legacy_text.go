package istio

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Source is a file as it stands.
type Source struct{ Name, Text string }

// Modern writes files in today's form: an object of an old kind is replaced, where the first of those that belong together stands,
// by what they come to, and obsolete fields get today's names, with the comments about them. Every other document stays as it is, byte
// by byte. The diagnostics are about what was converted, or could not be. Modern of a result is that result.
func Modern(sources []Source) (Rewritten, Diagnostics) {
	m := &modern{
		kinds: allKinds(), legacy: map[Position]*Object[*Legacy]{}, at: map[Position][]*made{}, notes: map[Ref]Diagnostics{},
		remarks: remarks{}, pageOf: map[Position]*page{},
	}
	diags := m.read(sources)
	var files [][]*page
	for _, s := range sources {
		files = append(files, m.file(s))
	}
	var out Rewritten
	for _, pages := range files {
		for _, p := range pages {
			if p.changed {
				p.text += m.remarks.render(p.roots)
			}
			out.pages = append(out.pages, p)
		}
	}
	for _, d := range m.changed {
		m.rest(d)
	}
	return out, diags
}

// Rewritten is what files come to.
type Rewritten struct{ pages []*page }

// page is one document, or a file that needs no change.
type page struct {
	text    string
	roots   []*node
	changed bool // the text of roots is still to be made
}

// YAML is the documents one after the other.
func (r Rewritten) YAML() string {
	var b strings.Builder
	last := ""
	for _, p := range r.pages {
		if p.text == "" {
			continue
		}
		if last != "" && !strings.HasSuffix(last, "\n") {
			b.WriteByte('\n')
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(p.text, "\ufeff"), "\n")
		if last != "" && !marker(strings.TrimRight(first, "\r")) {
			b.WriteString("---\n")
		}
		b.WriteString(p.text)
		last = p.text
	}
	return b.String()
}

// JSON is the object, or a List if there are several. What is no object has no place there.
func (r Rewritten) JSON() []byte {
	var items [][]byte
	for _, p := range r.pages {
		for _, n := range p.roots {
			if n.kind == mapNode {
				items = append(items, n.json())
			}
		}
	}
	all := append(append([]byte(`{"apiVersion":"v1","kind":"List","items":[`), bytes.Join(items, []byte(","))...), "]}"...)
	if len(items) == 1 {
		all = items[0]
	}
	var b bytes.Buffer
	if json.Indent(&b, all, "", "  ") != nil { // what node.json writes is JSON
		return all
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// modern is one run of Modern.
type modern struct {
	kinds   []Kind
	legacy  map[Position]*Object[*Legacy] // those that are converted, by the place of their document
	at      map[Position][]*made          // what stands in the place of which
	notes   map[Ref]Diagnostics           // what was said of an object
	remarks remarks
	pageOf  map[Position]*page // where a legacy object's part went
	changed []changedDocument
}

// changedDocument is a document that is written anew.
type changedDocument struct {
	pages    []*page
	objects  []*node
	comments []*remark
}

// read decodes and converts everything together.
func (m *modern) read(sources []Source) Diagnostics {
	var sets []Set
	var all, diags Diagnostics
	for _, s := range sources {
		d := DecodeAgain(s.Name, s.Text, nil)
		sets, all = append(sets, d.Set), append(all, d.Diagnostics...)
	}
	set, twice := Concat(sets...)
	all = append(all, twice...)
	objects, found := new(Converter).convert(set)
	for _, o := range set.Legacy {
		m.legacy[o.Position] = o
	}
	for _, o := range objects {
		first := o.from[0].Position
		for _, l := range o.from {
			if before(l.Position, first, sources) {
				first = l.Position
			}
		}
		m.at[first] = append(m.at[first], o)
		found = append(found, o.diags.Errors()...)
	}
	for _, d := range found {
		m.notes[d.Object] = append(m.notes[d.Object], d)
	}
	for _, d := range append(all, found...) {
		if d.Code == CodeDeprecated || d.Code == CodeObsoleteKind || d.Code == CodeSyntax || d.Code == CodeNoKind || d.Severity == Error && m.old(d.Object.Kind) {
			diags = append(diags, d)
		}
	}
	diags.Sort()
	return diags
}

func before(a, b Position, sources []Source) bool {
	file := func(p Position) int {
		return slices.IndexFunc(sources, func(s Source) bool { return s.Name == p.File })
	}
	return cmp.Or(cmp.Compare(file(a), file(b)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) < 0
}

// old tells kinds that Istio removed.
func (m *modern) old(kind string) bool {
	return slices.ContainsFunc(m.kinds, func(k Kind) bool { return k.Name == kind && k.use == obsolete })
}

// file is the pages of a file; one, its text, if nothing in it is to be changed.
func (m *modern) file(s Source) []*page {
	whole := &page{text: s.Text}
	var pages []*page
	before := len(m.changed)
	for _, doc := range split(s.Text) {
		root, mistakes := doc.parse(s.Name)
		if root == nil || worst(mistakes) == Error {
			pages = append(pages, &page{text: doc.text})
			continue
		}
		now := m.document(root, doc, s.Name)
		pages = append(pages, now...)
		for _, p := range now {
			whole.roots = append(whole.roots, p.roots...)
		}
	}
	if len(m.changed) == before {
		return []*page{whole}
	}
	return slices.DeleteFunc(pages, func(p *page) bool { return !p.changed && strings.Trim(p.text, "- \r\n") == "" })
}

// document converts a document, each object of a List for itself.
func (m *modern) document(root *node, doc document, file string) []*page {
	objects := []*node{root}
	if items := root.get("items"); strings.HasSuffix(root.get("kind").str(), "List") && items != nil && items.kind == listNode {
		objects = items.items
	}
	var pages []*page
	touched := false
	for _, o := range objects {
		now, changed := m.object(o)
		touched = touched || changed
		pages = append(pages, now...)
	}
	if !touched {
		return []*page{{text: doc.text, roots: objects}}
	}
	m.changed = append(m.changed, changedDocument{pages, objects, m.remarks.gather(doc, file)})
	return pages
}

// object is what one object comes to.
func (m *modern) object(root *node) ([]*page, bool) {
	if o := m.legacy[root.pos]; o != nil {
		var pages []*page
		for _, made := range m.at[root.pos] {
			p := &page{roots: []*node{made.root}, changed: true}
			pages = append(pages, p)
			for _, from := range made.from {
				if m.pageOf[from.Position] == nil {
					m.pageOf[from.Position] = p
				}
			}
		}
		if text := m.leftOut(o); text != "" {
			pages = append(pages, &page{text: text, changed: true})
		}
		return pages, true
	}
	same := []*page{{roots: []*node{root}, changed: true}}
	k, _ := kindOf(m.kinds, root.get("apiVersion").str(), root.get("kind").str())
	rewrite, spec := rewriter(k.Name), root.below("spec")
	if rewrite == nil || spec == nil || k.Group != networkingGroup {
		return same, false
	}
	now := root.copyOf()
	o := &object{kind: k}
	rewrite(o, now.get("spec"))
	if o.broken() || bytes.Equal(now.json(), root.json()) {
		return same, false
	}
	return []*page{{roots: []*node{now}, changed: true}}, true
}

// leftOut says in the file what became of an object that comes to nothing.
func (m *modern) leftOut(o *Object[*Legacy]) string {
	why := m.notes[o.Ref]
	if slices.ContainsFunc(why, func(d Diagnostic) bool { return d.Code == CodeDeprecated }) {
		return ""
	}
	text := fmt.Sprintf("# %s (%s) is left out.\n", o.Ref, o.APIVersion)
	for _, d := range why {
		for _, line := range []string{d.Message, d.Fix} {
			if line != "" {
				text += "# " + strings.ReplaceAll(line, "\n", " ") + "\n"
			}
		}
	}
	return text
}

// rest puts comments whose place is no longer there above the first object that their document came to.
func (m *modern) rest(d changedDocument) {
	var lines []string
	for _, r := range d.comments {
		lines = append(lines, r.left()...)
	}
	var to *page
	if len(d.pages) > 0 {
		to = d.pages[0]
	}
	for _, o := range d.objects {
		if to == nil {
			to = m.pageOf[o.pos]
		}
	}
	if to != nil && len(lines) > 0 {
		to.text = strings.Join(lines, "\n") + "\n" + to.text
	}
}
