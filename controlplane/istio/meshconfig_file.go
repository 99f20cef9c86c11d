package istio

import (
	"fmt"
	"io"
)

// DecodeMeshConfig reads a text that is a MeshConfig itself, as `istioctl analyze --meshConfigFile` takes it: as if it stood in ConfigMap
// istio of namespace istio-system. The error is r's.
func DecodeMeshConfig(src string, r io.Reader) (Set, Diagnostics, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return Set{}, nil, fmt.Errorf("read MeshConfig: %w", err)
	}
	set, diags := meshText(Ref{Kind: "ConfigMap", Namespace: "istio-system", Name: "istio"}, src, string(text))
	return set, diags, nil
}

// meshText reads a MeshConfig as if it stood in a ConfigMap; src names the text in places.
func meshText(config Ref, src, text string) (Set, Diagnostics) {
	pos := Position{File: src, Line: 1, Column: 1}
	wrap := func(key string, n *node) *node {
		return &node{kind: mapNode, pos: pos, fields: []field{{key: key, pos: pos, value: n}}}
	}
	kind, _ := kindOf(allKinds(), "v1", "ConfigMap")
	o := &object{
		kind: kind, root: wrap("data", wrap("mesh", &node{kind: stringNode, pos: pos, text: text})),
		meta: Meta{APIVersion: "v1", Ref: config, Position: pos},
	}
	o.meta.Raw = o.root.json()
	var d decoder
	d.meshText(o)
	o.diags.Sort()
	return d.set, o.diags
}
