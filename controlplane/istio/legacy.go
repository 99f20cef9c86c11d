package istio

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Obsolete fields mean what their author meant: each is rewritten to today's before the schema sees it, with a Warning.
// What was dropped in silence by Istio (fault.abort.percent, appendHeaders) works here as it did when the tutorials were written.

// take removes the first of keys that is there and returns it.
func (n *node) take(keys ...string) (field, bool) {
	for _, k := range keys {
		if f := n.find(k); f != nil {
			out := *f
			n.remove(k)
			return out, true
		}
	}
	return field{}, false
}

func (o *object) deprecated(f field, path, message, fix string) {
	o.add(CodeDeprecated, Warning, f.pos, join(path, f.key), message, fix)
}

// move gives an obsolete field its new name in the same mapping. A field of the new name wins.
func (o *object) move(n *node, path, to string, from ...string) {
	f, ok := n.take(from...)
	if !ok {
		return
	}
	if n.find(to) != nil {
		o.deprecated(f, path, fmt.Sprintf("%s is obsolete and has no effect beside %s", f.key, to), "take it away")
		return
	}
	n.set(to, f.pos, f.value)
	o.deprecated(f, path, fmt.Sprintf("%s is obsolete: read as %s", f.key, to), "write "+to)
}

// each calls do with every item of the list at key, and its path.
func (n *node) each(key, path string, do func(item *node, path string)) {
	l := n.get(key)
	if l == nil || l.kind != listNode {
		return
	}
	for i, item := range l.items {
		if item.kind == mapNode {
			do(item, index(join(path, key), i))
		}
	}
}

// below is the mapping at key; nil if there is none.
func (n *node) below(keys ...string) *node {
	for _, k := range keys {
		if m := n.get(k); m != nil && m.kind == mapNode {
			return m
		}
	}
	return nil
}

func mapping(pos Position) *node { return &node{kind: mapNode, pos: pos} }

// rewriter makes the obsolete fields of a kind's spec today's; nil: it has none.
func rewriter(kind string) func(*object, *node) {
	switch kind {
	case "VirtualService":
		return rewriteVirtualService
	case "DestinationRule":
		return rewriteDestinationRule
	case "ServiceEntry":
		return rewriteServiceEntry
	case "EnvoyFilter":
		return rewriteEnvoyFilter
	}
	return nil
}

func rewriteVirtualService(o *object, spec *node) {
	spec.each("http", "spec", func(r *node, path string) {
		if fault := r.below("fault"); fault != nil {
			for _, kind := range []string{"delay", "abort"} {
				if n := fault.below(kind); n != nil {
					o.percentage(n, join(join(path, "fault"), kind), "percentage", "percent")
				}
			}
		}
		o.percentage(r, path, "mirrorPercentage", "mirrorPercent", "mirror_percent")
		o.headerOperations(r, path)
		if f, ok := r.take("websocketUpgrade", "websocket_upgrade"); ok {
			o.add(CodeDeprecated, Info, f.pos, join(path, f.key), "obsolete: WebSockets are always allowed", "take it away")
		}
		o.allowOrigin(r, path)
		r.each("route", path, func(d *node, path string) {
			o.headerOperations(d, path)
			o.destinationName(d, path)
		})
		o.destinationName(r, path)
	})
}

// percentage turns an obsolete whole percentage into today's {value: N}.
func (o *object) percentage(n *node, path, to string, from ...string) {
	f, ok := n.take(from...)
	if !ok || f.value.kind == nullNode {
		return
	}
	if n.find(to) != nil {
		o.deprecated(f, path, fmt.Sprintf("%s is obsolete and has no effect beside %s", f.key, to), "take it away")
		return
	}
	if f.value.kind != numberNode {
		c := &checker{ref: o.meta.Ref}
		c.want(f.value, join(path, f.key), "a number", unquote(f.value))
		o.diags = append(o.diags, c.diags...)
		return
	}
	v := mapping(f.value.pos)
	v.set("value", f.value.pos, f.value)
	n.set(to, f.pos, v)
	o.deprecated(f, path, fmt.Sprintf("%s is obsolete: read as %s", f.key, to), fmt.Sprintf("write %s: {value: %s}", to, f.value.text))
}

// flatHeader is a field of 2018 for header operations, which Istio drops in silence today.
type flatHeader struct{ camel, snake, side, op string }

func flatHeaders() []flatHeader {
	return []flatHeader{
		{"appendHeaders", "append_headers", "request", "add"},
		{"appendRequestHeaders", "append_request_headers", "request", "add"},
		{"removeRequestHeaders", "remove_request_headers", "request", "remove"},
		{"appendResponseHeaders", "append_response_headers", "response", "add"},
		{"removeResponseHeaders", "remove_response_headers", "response", "remove"},
	}
}

func (o *object) headerOperations(n *node, path string) {
	for _, h := range flatHeaders() {
		f, ok := n.take(h.camel, h.snake)
		if !ok {
			continue
		}
		headers := n.child("headers", f.pos)
		side := headers.child(h.side, f.pos)
		if old := side.find(h.op); old != nil && old.value.kind == f.value.kind {
			merged := old.value.copyOf()
			merged.fields = append(merged.fields, f.value.fields...)
			merged.items = append(merged.items, f.value.items...)
			old.value = merged
		} else {
			side.set(h.op, f.pos, f.value)
		}
		now := "headers." + h.side + "." + h.op
		o.deprecated(f, path, f.key+" is obsolete: read as "+now, "write "+now)
	}
}

// child is the mapping at key, made if absent.
func (n *node) child(key string, pos Position) *node {
	if m := n.below(key); m != nil {
		return m
	}
	m := mapping(pos)
	n.set(key, pos, m)
	return m
}

func (o *object) allowOrigin(r *node, path string) {
	cors := r.below("corsPolicy", "cors_policy")
	if cors == nil {
		return
	}
	path = join(path, "corsPolicy")
	f, ok := cors.take("allowOrigin", "allow_origin")
	if !ok || f.value.kind != listNode {
		if ok {
			cors.set("allowOrigins", f.pos, f.value) // the schema says that it wants a list
		}
		return
	}
	if cors.find("allowOrigins") != nil {
		o.deprecated(f, path, f.key+" is obsolete and has no effect beside allowOrigins", "take it away")
		return
	}
	l := &node{kind: listNode, pos: f.value.pos}
	for _, item := range f.value.items {
		m := mapping(item.pos)
		m.set("exact", item.pos, item)
		l.items = append(l.items, m)
	}
	cors.set("allowOrigins", f.pos, l)
	o.deprecated(f, path, f.key+" is obsolete: read as allowOrigins", "write allowOrigins: [{exact: ORIGIN}]")
}

// destinationName is the 2018 spelling of destination.host.
func (o *object) destinationName(n *node, path string) {
	for _, key := range []string{"destination", "mirror"} {
		if d := n.below(key); d != nil && d.find("host") == nil {
			o.move(d, join(path, key), "host", "name")
		}
	}
}

func rewriteDestinationRule(o *object, spec *node) {
	if spec.find("host") == nil {
		o.move(spec, "spec", "host", "name")
	}
	o.trafficPolicy(spec, "spec")
	spec.each("subsets", "spec", func(s *node, path string) { o.trafficPolicy(s, path) })
}

func (o *object) trafficPolicy(parent *node, path string) {
	p := parent.below("trafficPolicy", "traffic_policy")
	if p == nil {
		return
	}
	path = join(path, "trafficPolicy")
	o.policyBlocks(p, path)
	p.each("portLevelSettings", path, o.policyBlocks)
	p.each("port_level_settings", path, o.policyBlocks)
}

func (o *object) policyBlocks(p *node, path string) {
	if out := p.below("outlierDetection", "outlier_detection"); out != nil {
		o.outlier(out, join(path, "outlierDetection"))
	}
	lb := p.below("loadBalancer", "load_balancer")
	if lb == nil {
		return
	}
	path = join(path, "loadBalancer")
	if f := lb.find("simple"); f != nil && f.value.str() == "LEAST_CONN" {
		v := *f.value
		v.text = "LEAST_REQUEST"
		o.deprecated(*f, path, "LEAST_CONN is obsolete: read as LEAST_REQUEST", "write LEAST_REQUEST")
		f.value = &v
	}
	if f, ok := lb.take("warmupDurationSecs", "warmup_duration_secs"); ok {
		if lb.find("warmup") == nil {
			lb.child("warmup", f.pos).set("duration", f.pos, f.value)
		}
		o.deprecated(f, path, f.key+" is obsolete: read as warmup.duration", "write warmup: {duration: "+f.value.str()+"}")
	}
	hash := lb.below("consistentHash", "consistent_hash")
	if hash == nil {
		return
	}
	if f, ok := hash.take("minimumRingSize", "minimum_ring_size"); ok {
		if hash.find("ringHash") == nil && hash.find("maglev") == nil && hash.find("ring_hash") == nil {
			hash.child("ringHash", f.pos).set("minimumRingSize", f.pos, f.value)
		}
		o.deprecated(f, join(path, "consistentHash"), f.key+" is obsolete: read as ringHash.minimumRingSize", "write ringHash: {minimumRingSize: "+f.value.str()+"}")
	}
}

// outlier lifts what stood under http in 2018, and reads consecutiveErrors as every 5xx, as Istio 1.0 did.
func (o *object) outlier(n *node, path string) {
	if f, ok := n.take("http"); ok {
		for _, inner := range f.value.fields {
			if n.find(inner.key) == nil {
				n.set(inner.key, inner.pos, inner.value)
			}
		}
		o.deprecated(f, path, "outlierDetection.http is obsolete: its fields are read as if they stood in outlierDetection", "move them up")
	}
	f, ok := n.take("consecutiveErrors", "consecutive_errors")
	if !ok {
		return
	}
	for _, now := range []string{"consecutive5xxErrors", "consecutive_5xx_errors", "consecutiveGatewayErrors", "consecutive_gateway_errors"} {
		if n.find(now) != nil {
			o.deprecated(f, path, f.key+" is obsolete and has no effect beside "+now, "take it away")
			return
		}
	}
	n.set("consecutive5xxErrors", f.pos, f.value)
	o.deprecated(f, path, f.key+" is obsolete: read as consecutive5xxErrors", "write consecutive5xxErrors: "+f.value.str())
}

// rewriteServiceEntry reads the 2018 spelling of resolution.
func rewriteServiceEntry(o *object, spec *node) {
	o.move(spec, "spec", "resolution", "discovery")
}

// rewriteEnvoyFilter reads the selector of Istio 1.0 to 1.2.
func rewriteEnvoyFilter(o *object, spec *node) {
	f, ok := spec.take("workloadLabels", "workload_labels")
	if !ok {
		return
	}
	if spec.find("workloadSelector") != nil {
		o.deprecated(f, "spec", f.key+" is obsolete and has no effect beside workloadSelector", "take it away")
		return
	}
	spec.set("workloadSelector", f.pos, mapping(f.value.pos).with("labels", f.pos, f.value))
	o.deprecated(f, "spec", f.key+" is obsolete: read as workloadSelector.labels", "write workloadSelector: {labels}")
}

// former says what became of fields of v1alpha2, and of names that people expect, where no like-named field is left; "" for others.
func former(message protoreflect.Name, key string) string {
	if message == "HTTPRouteDestination" && key == "labels" {
		return `write "subset" in the destination, and a DestinationRule with a subset of these labels`
	}
	switch key {
	case "httpFault":
		return `write "fault"`
	case "httpReqTimeout", "simpleTimeout":
		return `write "timeout"`
	case "httpReqRetries", "simpleRetry":
		return `write "retries"`
	case "filters":
		return `write "configPatches": [{applyTo: HTTP_FILTER, match: {context, listener}, patch: {operation: INSERT_BEFORE, value: {name, typed_config}}}]; Envoy no longer reads the untyped config of old filters`
	case "precedence":
		return "the order of http is the precedence"
	case "maxPendingRequests":
		return `write "http1MaxPendingRequests"`
	case "httpMaxRequests":
		return `write "http2MaxRequests"`
	case "httpConsecutiveErrors":
		return `write "consecutive5xxErrors" in outlierDetection`
	}
	return ""
}
