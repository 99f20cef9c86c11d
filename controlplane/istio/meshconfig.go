package istio

import (
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// meshConfig reads ConfigMap istio of namespace istio-system; false for any other object. An unknown field is a Warning, as
// in istiod: this text is shared with other products and outlives releases. Positions inside it are those of its lines.
func (d *decoder) meshConfig(o *object) bool {
	if o.kind.Name != "ConfigMap" || o.meta.Name != "istio" || o.meta.Namespace != "istio-system" {
		return false
	}
	if text := o.root.get("data", "mesh"); text == nil || text.kind != stringNode {
		return false
	}
	d.meshText(o)
	return true
}

// meshText reads the MeshConfig in a ConfigMap's entry "mesh", a string.
func (d *decoder) meshText(o *object) {
	text := o.root.get("data", "mesh")
	o.places()
	doc := document{text: text.text, line: text.pos.Line - 1}
	if text.block {
		doc.line++
	}
	root, diags := doc.parse(o.meta.Position.File)
	for i := range diags {
		diags[i].Object = o.meta.Ref
		diags[i].Path = "data.mesh"
	}
	o.diags = append(o.diags, diags...)
	if o.broken() {
		return
	}
	if root == nil {
		root = &node{kind: mapNode, pos: text.pos}
	}
	if text.block && doc.line < len(d.lines) {
		l := d.lines[doc.line]
		root.shift(len(l) - len(strings.TrimLeft(l, " ")))
	}
	spec := &meshconfig.MeshConfig{}
	c := &checker{ref: o.meta.Ref, unknown: Warning}
	c.message(spec.ProtoReflect().Descriptor(), root, "data.mesh")
	o.diags = append(o.diags, c.diags...)
	places(root, "data.mesh", o.meta.Places)
	if o.broken() {
		return
	}
	if err := (protojson.UnmarshalOptions{}).Unmarshal(root.json(), spec); err != nil {
		o.fail(text.pos, "data.mesh", "cannot be read: "+strings.TrimPrefix(err.Error(), "proto: "), "")
		return
	}
	o.support("MeshConfig", spec.ProtoReflect().Descriptor(), root, "data.mesh")
	o.diags = append(o.diags, validateMesh(&o.meta, spec)...)
	o.diags = append(o.diags, validateProviders(&o.meta, spec)...)
	o.diags = append(o.diags, validateLogFormat(&o.meta, spec)...)
	o.diags = append(o.diags, validateAuthorizers(&o.meta, spec)...)
	if d.set.Mesh != nil {
		o.add(CodeDuplicate, Error, o.meta.Position, "", "stands a second time; the first one counts", "keep one")
	}
	if !o.broken() {
		d.set.Mesh = &Object[*meshconfig.MeshConfig]{Meta: o.meta, Spec: spec}
	}
}

// shift moves the columns of a text that stands indented within another.
func (n *node) shift(columns int) {
	n.pos.Column += columns
	for i := range n.fields {
		n.fields[i].pos.Column += columns
		n.fields[i].value.shift(columns)
	}
	for _, item := range n.items {
		item.shift(columns)
	}
}
