package istio

import (
	"reflect"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	networking "istio.io/api/networking/v1alpha3"
)

// decodeRateLimit reads our own kind: plain Go, but for match, which is VirtualService's own HTTPMatchRequest.
func decodeRateLimit(o *object, list *[]*Object[*RateLimit]) {
	t := reflect.TypeFor[RateLimit]()
	var known []string
	jsonFields(t, map[string]reflect.Type{}, &known)
	o.topLevel(known)
	n := o.root.get("spec")
	if n == nil || n.kind == nullNode {
		n = &node{kind: mapNode, pos: o.meta.Position}
	}
	c := &checker{ref: o.meta.Ref, unknown: Error}
	matches := c.rateLimitMatches(n)
	rest := n.copyOf() // without match, which RateLimitRule does not take from JSON
	if limits := rest.get("limits"); limits != nil {
		for _, l := range limits.items {
			l.remove("match")
		}
	}
	c.goType(t, rest, "spec")
	o.diags = append(o.diags, c.diags...)
	o.places()
	spec := &RateLimit{}
	if o.broken() || !o.unmarshal(rest, spec) {
		return
	}
	for i, rule := range matches {
		for _, m := range rule {
			into := &networking.HTTPMatchRequest{}
			if err := (protojson.UnmarshalOptions{}).Unmarshal(m.json(), into); err != nil {
				o.fail(m.pos, index("spec.limits", i)+".match", "cannot be read: "+err.Error(), "")
				return
			}
			spec.Limits[i].Match = append(spec.Limits[i].Match, into)
		}
	}
	out := &Object[*RateLimit]{Meta: o.meta, Spec: spec}
	o.diags = append(o.diags, validateRateLimit(out)...)
	if !o.broken() {
		*list = append(*list, out)
	}
}

// rateLimitMatches checks the match entries, and returns those of each limit.
func (c *checker) rateLimitMatches(spec *node) [][]*node {
	limits := spec.get("limits")
	if limits == nil || limits.kind != listNode {
		return nil
	}
	desc := (&networking.HTTPMatchRequest{}).ProtoReflect().Descriptor()
	out := make([][]*node, len(limits.items))
	for i, l := range limits.items {
		path := join(index("spec.limits", i), "match")
		m := l.get("match")
		switch {
		case m == nil || m.kind == nullNode:
			continue
		case m.kind != listNode:
			c.want(m, path, "a list", "put '- ' before it")
			continue
		}
		for j, item := range m.items {
			c.message(desc, item, index(path, j))
		}
		out[i] = slices.DeleteFunc(slices.Clone(m.items), func(n *node) bool { return n.kind == nullNode })
	}
	return out
}
