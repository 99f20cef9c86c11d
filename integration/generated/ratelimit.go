package generated

import "google.golang.org/protobuf/reflect/protoreflect"

// rateLimit is the spec of Mizzen's own kind, which no descriptor tells of. Its matches are VirtualService's.
func (g *generator) rateLimit() map[string]any {
	spec := map[string]any{}
	switch g.rand.IntN(3) {
	case 0:
		spec["selector"] = map[string]any{"matchLabels": g.labels()}
	case 1:
		spec["targetRefs"] = []any{map[string]any{"kind": "Service", "name": g.own().name}}
	}
	var limits []any
	for range 1 + g.rand.IntN(3) {
		limits = append(limits, g.limit())
	}
	spec["limits"] = limits
	return spec
}

func (g *generator) limit() map[string]any {
	l := map[string]any{}
	now := func(name string, value any) {
		if g.rand.IntN(4) == 0 {
			l[name] = value
		}
	}
	if g.rand.IntN(5) == 0 {
		l["concurrency"], l["scope"] = pick(g, 1, 100, 4294967295), pick(g, "local", "shared")
	} else {
		l["requests"], l["per"] = pick(g, 1, 10, 4294967295), pick(g, "second", "minute", "day", "10s", "1ms")
		now("burst", pick(g, 0, 5, 100))
		now("algorithm", pick(g, "gcra", "tokenBucket", "slidingWindow"))
		now("hitsAddend", pick(g, map[string]any{"number": 5}, map[string]any{"header": "x-cost", "max": 10}))
		l["scope"] = pick(g, "local", "shared", "global")
		if l["scope"] == "global" {
			now("failureMode", pick(g, "local", "allow", "deny"))
		}
	}
	keys := []any{map[string]any{"header": "x-user"}, map[string]any{"cookie": "session"}, map[string]any{"query": "q"}, map[string]any{"path": true}, map[string]any{"method": true},
		map[string]any{"sourceAddress": true, "ipv4Prefix": 24}, map[string]any{"route": true}, map[string]any{"traceId": true}, map[string]any{"literal": "all"}}
	if n := g.rand.IntN(3); n > 0 {
		from := g.rand.IntN(len(keys) - n)
		l["key"] = keys[from : from+n]
	}
	now("action", pick(g, "enforce", "shadow"))
	now("status", pick(g, 400, 429, 503))
	now("enabled", pick(g, 0, 0.5, 100))
	now("enforced", pick(g, 0, 0.5, 100))
	now("maxKeys", pick(g, 1, 1000))
	now("headers", pick(g, "draft03", "off"))
	if g.rand.IntN(3) == 0 {
		if m, ok := g.tables.match(); ok {
			kind := g.kind
			g.kind = "VirtualService" // whose table says which of its fields are supported
			l["match"] = []any{g.message(m, "spec.http[].match[]")}
			g.kind = kind
		}
	}
	return l
}

// match describes HTTPMatchRequest.
func (t *tables) match() (protoreflect.MessageDescriptor, bool) {
	http := t.known["VirtualService"].desc.Fields().ByJSONName("http")
	if http == nil {
		return nil, false
	}
	match := http.Message().Fields().ByJSONName("match")
	return match.Message(), match.Message() != nil
}
