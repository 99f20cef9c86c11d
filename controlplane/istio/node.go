package istio

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what the aliases of one document stand for, so that a few lines of them cannot fill the memory.
const maxNodes = 20_000

// maxDepth bounds nesting.
const maxDepth = 200

// exhausted is reader.left once the limit has been reported: nothing more of the document is read.
const exhausted = -1 << 31

type nodeKind uint8

const (
	nullNode nodeKind = iota
	boolNode
	numberNode
	stringNode
	listNode
	mapNode
)

// String is the word of a diagnostic.
func (k nodeKind) String() string {
	return [...]string{"nothing", "a boolean", "a number", "a string", "a list", "a mapping"}[k]
}

// node is a YAML value with its place: aliases and merge keys expanded, each key once, scalars resolved as Kubernetes does.
type node struct {
	kind   nodeKind
	pos    Position
	text   string // of a scalar: the number as JSON wants it, "true", "false" or the string
	plain  bool   // a scalar without quotes
	block  bool   // a literal block scalar: its text starts on the next line
	fields []field
	items  []*node
}

// field is one entry of a mapping.
type field struct {
	key   string
	pos   Position // of the key
	value *node
}

func (n *node) find(key string) *field {
	if n == nil || n.kind != mapNode {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return &n.fields[i]
		}
	}
	return nil
}

// get walks down mappings; nil if a key is absent.
func (n *node) get(keys ...string) *node {
	for _, k := range keys {
		f := n.find(k)
		if f == nil {
			return nil
		}
		n = f.value
	}
	return n
}

func (n *node) remove(key string) {
	for i := range n.fields {
		if n.fields[i].key == key {
			n.fields = append(n.fields[:i:i], n.fields[i+1:]...)
			return
		}
	}
}

// set replaces the value of key or adds it, at the place of pos.
func (n *node) set(key string, pos Position, v *node) {
	if f := n.find(key); f != nil {
		f.value = v
		return
	}
	n.fields = append(n.fields[:len(n.fields):len(n.fields)], field{key, pos, v})
}

// str is the string of a scalar; "" for anything else.
func (n *node) str() string {
	if n == nil || n.kind == listNode || n.kind == mapNode {
		return ""
	}
	return n.text
}

// copyOf is a deep copy, so that rewriting an obsolete field leaves the original as the user wrote it.
func (n *node) copyOf() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.fields = make([]field, len(n.fields))
	for i, f := range n.fields {
		c.fields[i] = field{f.key, f.pos, f.value.copyOf()}
	}
	c.items = make([]*node, len(n.items))
	for i, it := range n.items {
		c.items[i] = it.copyOf()
	}
	return &c
}

// json is the value as JSON, keys in the user's order.
func (n *node) json() []byte {
	var b bytes.Buffer
	n.writeJSON(&b)
	return b.Bytes()
}

func (n *node) writeJSON(b *bytes.Buffer) {
	switch n.kind {
	case nullNode:
		b.WriteString("null")
	case boolNode, numberNode:
		b.WriteString(n.text)
	case stringNode:
		writeString(b, n.text)
	case listNode:
		b.WriteByte('[')
		for i, it := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			it.writeJSON(b)
		}
		b.WriteByte(']')
	case mapNode:
		b.WriteByte('{')
		for i, f := range n.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			writeString(b, f.key)
			b.WriteByte(':')
			f.value.writeJSON(b)
		}
		b.WriteByte('}')
	}
}

func writeString(b *bytes.Buffer, s string) {
	q, err := json.Marshal(s)
	if err != nil { // a string always marshals
		q = []byte(`""`)
	}
	b.Write(q)
}

// reader turns YAML nodes into ours.
type reader struct {
	file  string
	line  int // lines before this document in the file
	left  int // nodes that aliases may still stand for
	alias int // aliases around the node at hand
	diags Diagnostics
}

func (r *reader) pos(y *yaml.Node) Position {
	return Position{File: r.file, Line: r.line + y.Line, Column: y.Column}
}

func (r *reader) fail(code string, pos Position, format string, args ...any) {
	r.diags = append(r.diags, Diagnostic{Code: code, Severity: Error, Position: pos, Message: fmt.Sprintf(format, args...)})
}

// node converts y. It never returns nil: what cannot be read is null, with a diagnostic.
func (r *reader) node(y *yaml.Node, depth int) *node {
	n := &node{pos: r.pos(y)}
	if r.alias > 0 {
		r.left--
	}
	if r.left < 0 || depth > maxDepth {
		if r.left > exhausted {
			r.left = exhausted
			r.fail(CodeTooLarge, n.pos, "nested too deeply, or too much behind aliases")
		}
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		r.alias++
		defer func() { r.alias-- }()
		return r.node(y.Alias, depth+1)
	case yaml.SequenceNode:
		n.kind = listNode
		for _, c := range y.Content {
			n.items = append(n.items, r.node(c, depth+1))
		}
	case yaml.MappingNode:
		n.kind = mapNode
		r.mapping(n, y, depth)
	case yaml.ScalarNode:
		r.scalar(n, y)
	}
	return n
}

func (r *reader) mapping(n *node, y *yaml.Node, depth int) {
	seen := make(map[string]Position, len(y.Content)/2)
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		pos := r.pos(k)
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			r.fail(CodeSyntax, pos, "a key must be a word, not a list or a mapping")
			continue
		}
		value := r.node(v, depth+1)
		if k.Tag == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if first, twice := seen[k.Value]; twice {
			r.fail(CodeDuplicateKey, pos, "key %q stands twice in one mapping, first in line %d", k.Value, first.Line)
			continue
		}
		seen[k.Value] = pos
		n.fields = append(n.fields, field{k.Value, pos, value})
	}
	for _, m := range merged {
		sources := []*node{m}
		if m.kind == listNode {
			sources = m.items
		}
		for _, s := range sources {
			for _, f := range s.fields {
				if _, own := seen[f.key]; !own {
					seen[f.key] = f.pos
					n.fields = append(n.fields, f)
				}
			}
		}
	}
}

func (r *reader) scalar(n *node, y *yaml.Node) {
	n.text, n.kind = y.Value, stringNode
	n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
	n.block = y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch y.ShortTag() {
	case "!!null":
		n.kind, n.text = nullNode, ""
	case "!!bool":
		n.kind, n.text = boolNode, strings.ToLower(y.Value)
	case "!!int":
		n.kind = numberNode
		n.text = integer(y.Value)
	case "!!float":
		f, err := strconv.ParseFloat(strings.ReplaceAll(y.Value, "_", ""), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return // .inf, .nan: JSON has no such numbers; the schema will ask for one
		}
		n.kind, n.text = numberNode, strconv.FormatFloat(f, 'g', -1, 64)
	}
}

// integer is a YAML integer (decimal, 0x, 0o, 0b, old octal) as JSON's.
func integer(s string) string {
	s = strings.ReplaceAll(s, "_", "")
	if i, err := strconv.ParseInt(s, 0, 64); err == nil {
		return strconv.FormatInt(i, 10)
	}
	if u, err := strconv.ParseUint(s, 0, 64); err == nil {
		return strconv.FormatUint(u, 10)
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return "0"
}
