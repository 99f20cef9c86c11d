package istio

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// remarks are the comments and the style of values of documents that are written anew, by place.
type remarks map[place2]*remark

// place2 tells a mapping from its first key, which stands in the same place.
type place2 struct {
	Position
	key bool
}

// remark is a value as it was written. Its comments are taken once.
type remark struct {
	value            *yaml.Node
	json             bool // its document is JSON: its style is nobody's choice
	head, line, foot string
}

// gather reads the comments of a document, in their order.
func (rs remarks) gather(d document, file string) []*remark {
	var y yaml.Node
	if yaml.Unmarshal([]byte(d.text), &y) != nil || len(y.Content) == 0 {
		return nil
	}
	var out []*remark
	json := y.Content[0].Style&yaml.FlowStyle != 0
	var visit func(n *yaml.Node, key bool)
	visit = func(n *yaml.Node, key bool) {
		r := &remark{value: n, json: json, head: n.HeadComment, line: n.LineComment, foot: n.FootComment}
		if n.Kind != yaml.DocumentNode {
			rs[place2{Position{file, d.line + n.Line, n.Column}, key}] = r
		}
		out = append(out, r)
		for i, c := range n.Content {
			visit(c, n.Kind == yaml.MappingNode && i%2 == 0)
		}
	}
	visit(&y, false)
	return out
}

// left gives the comments that were not taken.
func (r *remark) left() []string {
	var out []string
	for _, c := range []string{r.head, r.line, r.foot} {
		if c != "" {
			out = append(out, strings.Split(c, "\n")...)
		}
	}
	r.head, r.line, r.foot = "", "", ""
	return slices.DeleteFunc(out, func(s string) bool { return !strings.HasPrefix(strings.TrimSpace(s), "#") })
}

// render writes objects as YAML documents.
func (rs remarks) render(roots []*node) string {
	var out []string
	for _, n := range roots {
		before := rs.clone()
		text := encode(rs.write(n, false))
		if back, _ := (document{text: text}).parse(""); back == nil || !bytes.Equal(back.json(), n.json()) {
			rs.restore(before) // a comment stood where YAML has no room for one
			text = encode(remarks{}.write(n, false))
		}
		out = append(out, text)
	}
	return strings.Join(out, "---\n")
}

func (rs remarks) clone() map[place2]remark {
	out := make(map[place2]remark, len(rs))
	for k, r := range rs {
		out[k] = *r
	}
	return out
}

func (rs remarks) restore(old map[place2]remark) {
	for k, r := range rs {
		*r = old[k]
	}
}

func encode(y *yaml.Node) string {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if e.Encode(y) != nil || e.Close() != nil {
		return ""
	}
	return b.String()
}

// comment moves the comments of a place to y, if that is a value of the same sort. Within flow style there is no room for them.
func (r *remark) comment(y *yaml.Node, flow bool) {
	if r == nil || flow || (r.value.Kind == yaml.ScalarNode) != (y.Kind == yaml.ScalarNode) {
		return
	}
	y.HeadComment, y.LineComment, y.FootComment = r.head, r.line, r.foot
	r.head, r.line, r.foot = "", "", ""
}

// write makes a YAML node, in the style in which its place was written.
func (rs remarks) write(n *node, flow bool) *yaml.Node {
	r := rs[place2{n.pos, false}]
	y := &yaml.Node{}
	switch n.kind {
	case mapNode, listNode:
		y.Kind, y.Tag = yaml.MappingNode, "!!map"
		if n.kind == listNode {
			y.Kind, y.Tag = yaml.SequenceNode, "!!seq"
		}
		if r != nil && !r.json {
			y.Style = r.value.Style & yaml.FlowStyle
		}
	default:
		rs.scalar(y, n, r)
	}
	r.comment(y, flow)
	flow = flow || y.Style&yaml.FlowStyle != 0
	for _, f := range n.fields {
		kr := rs[place2{f.pos, true}]
		key := &yaml.Node{}
		rs.scalar(key, &node{kind: stringNode, text: f.key}, kr)
		kr.comment(key, flow)
		y.Content = append(y.Content, key, rs.write(f.value, flow))
	}
	for _, n := range n.items {
		item := rs.write(n, flow)
		if item.Kind == yaml.MappingNode && len(item.Content) > 0 && item.HeadComment == "" { // above the dash, not behind it
			first := item.Content[0]
			item.HeadComment, first.HeadComment = first.HeadComment, ""
		}
		y.Content = append(y.Content, item)
	}
	return y
}

// misread are strings that YAML 1.1, which Kubernetes reads, takes for something else.
var misread = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$|^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)

func (rs remarks) scalar(y *yaml.Node, n *node, r *remark) {
	y.Kind, y.Value = yaml.ScalarNode, n.text
	switch n.kind {
	case nullNode:
		y.Tag, y.Value = "!!null", "null"
	case boolNode:
		y.Tag = "!!bool"
	case numberNode:
		y.Tag = "!!int"
		if strings.ContainsAny(n.text, ".eE") {
			y.Tag = "!!float"
		}
	default:
		y.Tag = "!!str"
		if misread.MatchString(n.text) {
			y.Style = yaml.DoubleQuotedStyle
		}
		if r != nil && !r.json && r.value.Kind == yaml.ScalarNode && r.value.Value == n.text {
			y.Style = r.value.Style &^ yaml.TaggedStyle
		}
	}
}
