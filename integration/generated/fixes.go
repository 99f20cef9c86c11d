package generated

import (
	"fmt"
	"maps"
)

// fixes mend a message, by name, where its fields exclude or need each other. What the focus is on stays.
func fixes() map[string]func(*generator, map[string]any) {
	out := map[string]func(*generator, map[string]any){
		"VirtualService": func(g *generator, m map[string]any) {
			if m["http"] == nil && m["tls"] == nil && m["tcp"] == nil {
				m["http"] = []any{map[string]any{"route": g.anyRoute()}}
			}
		},
		"HTTPRoute":          (*generator).fixRoute,
		"TLSRoute":           func(g *generator, m map[string]any) { g.weigh(m) },
		"TCPRoute":           func(g *generator, m map[string]any) { g.weigh(m) },
		"Destination":        func(g *generator, m map[string]any) { g.destination(m) },
		"HTTPRewrite":        fixRewrite,
		"HTTPRedirect":       fixRedirect,
		"HTTPFaultInjection": fixFault,
		"HTTPFaultInjection.Delay": func(g *generator, m map[string]any) {
			if m["fixedDelay"] == nil {
				m["fixedDelay"] = "5s"
			}
		},
		"HTTPFaultInjection.Abort": func(g *generator, m map[string]any) {
			if m["httpStatus"] == nil && m["grpcStatus"] == nil {
				m["httpStatus"] = 503
			}
		},
		"EnvoyFilter.EnvoyConfigObjectPatch": (*generator).fixPatch,
		"MeshConfig":                         (*generator).fixMesh,
		"LabelSelectorRequirement": func(g *generator, m map[string]any) {
			if m["operator"] == "Exists" || m["operator"] == "DoesNotExist" {
				delete(m, "values")
			} else {
				m["values"] = []any{pick(g, "default", SecondNamespace)}
			}
		},
		"MetricsOverrides.TagOverride": func(g *generator, m map[string]any) {
			if delete(m, "value"); m["operation"] != "REMOVE" || g.keeps("value") {
				m["operation"], m["value"] = "UPSERT", pick(g, "request.host", "request.path", "'all'")
			}
		},
	}
	maps.Copy(out, policyFixes())
	return out
}

// fixRoute leaves one action, and what goes with it.
func (g *generator) fixRoute(m map[string]any) {
	action := "route"
	if !g.delegate || g.delegated {
		delete(m, "delegate")
	}
	for _, a := range []string{"redirect", "directResponse", "delegate"} {
		if g.keeps(a) && m[a] != nil || m[a] != nil && !g.keeps("route", "rewrite", "fault", "mirror", "mirrors", "mirrorPercentage", "timeout", "retries") && g.rand.IntN(2) == 0 {
			action = a
		}
	}
	for _, a := range []string{"route", "redirect", "directResponse", "delegate"} {
		if a != action {
			delete(m, a)
		}
	}
	switch action {
	case "route":
		if m["route"] == nil {
			m["route"] = g.anyRoute()
		}
		g.weigh(m)
	default:
		for _, k := range []string{"rewrite", "fault", "mirror", "mirrors", "mirrorPercentage", "mirrorPercent", "retries"} {
			delete(m, k)
		}
	}
	if g.keeps("mirrors") {
		delete(m, "mirror")
	}
	if m["mirror"] != nil {
		delete(m, "mirrors")
	} else if g.keeps("mirrorPercentage") {
		delete(m, "mirrors")
		mirror := map[string]any{}
		g.destination(mirror)
		m["mirror"] = mirror
	} else {
		delete(m, "mirrorPercentage")
	}
	if action == "delegate" {
		for k := range m {
			if k != "delegate" && k != "match" && k != "name" {
				delete(m, k)
			}
		}
	}
}

// anyRoute is a route to one destination.
func (g *generator) anyRoute() []any {
	d := map[string]any{}
	g.destination(d)
	return []any{map[string]any{"destination": d}}
}

// weigh gives several destinations weights.
func (g *generator) weigh(m map[string]any) {
	list, _ := m["route"].([]any)
	for _, d := range list {
		if d, ok := d.(map[string]any); ok && len(list) > 1 && d["weight"] == nil {
			d["weight"] = pick(g, 1, 20, 99)
		}
	}
}

func fixRewrite(g *generator, m map[string]any) {
	if m["uriRegexRewrite"] != nil && !g.keeps("uri") {
		delete(m, "uri")
	}
	if m["uri"] != nil {
		delete(m, "uriRegexRewrite")
	}
	if len(m) == 0 {
		m["authority"] = "inner.example.com"
	}
}

func fixRedirect(g *generator, m map[string]any) {
	if m["prefixRewrite"] != nil && !g.keeps("uri") {
		delete(m, "uri")
	}
	if m["uri"] != nil {
		delete(m, "prefixRewrite")
	}
}

func fixFault(g *generator, m map[string]any) {
	if m["delay"] == nil && m["abort"] == nil {
		m["abort"] = map[string]any{"httpStatus": 503, "percentage": map[string]any{"value": 50}}
	}
}

// exclusive leaves at most one of names: the one in focus, or any.
func (g *generator) exclusive(m map[string]any, names ...string) {
	var have []string
	for _, n := range names {
		if m[n] == nil {
			continue
		}
		if g.keeps(n) {
			have = []string{n}
			break
		}
		have = append(have, n)
	}
	if len(have) == 0 {
		return
	}
	keep := have[g.rand.IntN(len(have))]
	for _, n := range names {
		if n != keep {
			delete(m, n)
		}
	}
}

// finish adds what depends on the whole object.
func (g *generator) finish(d Document, spec map[string]any) {
	meta := d["metadata"].(map[string]any)
	annotations := map[string]any{}
	switch g.kind {
	case "VirtualService":
		g.finishRoutes(d, spec, annotations)
	case "Gateway":
		meta["name"] = fmt.Sprintf("gateway-%d", g.serial)
		if g.serial < 3 {
			meta["namespace"] = pick(g, rootNamespace, "default", "shop")
		}
	case "AuthorizationPolicy":
		if a := spec["action"]; (a == nil || a == "ALLOW" || a == "DENY") && g.rand.IntN(8) == 0 {
			annotations["istio.io/dry-run"] = "true"
		}
	case "Telemetry":
		if g.rand.IntN(3) == 0 {
			annotations["mizzen.dev/tracer"] = pick(g, "mizzen", "envoy")
		}
	case "Sidecar":
		if spec["workloadSelector"] == nil && g.rand.IntN(2) == 0 {
			spec["workloadSelector"] = map[string]any{"labels": g.labels()}
		}
	}
	if len(annotations) > 0 {
		meta["annotations"] = annotations
	}
}

// finishRoutes makes some VirtualServices what others delegate to, or sticky, and keeps prefixRewrite with prefixes.
func (g *generator) finishRoutes(d Document, spec, annotations map[string]any) {
	http, _ := spec["http"].([]any)
	for _, r := range http {
		r, ok := r.(map[string]any)
		if !ok || dig(r, "redirect", "prefixRewrite") == nil {
			continue
		}
		matches, _ := r["match"].([]any)
		for _, m := range matches {
			if m, ok := m.(map[string]any); ok && m["uri"] != nil {
				m["uri"] = map[string]any{"prefix": "/old"}
			}
		}
	}
	if g.delegated {
		for _, k := range []string{"hosts", "gateways", "tls", "tcp"} {
			delete(spec, k)
		}
		if len(http) == 0 {
			spec["http"] = []any{map[string]any{"route": g.anyRoute()}}
		}
		d["metadata"].(map[string]any)["name"], d["metadata"].(map[string]any)["namespace"] = "delegate", "default"
	}
	if g.rand.IntN(8) == 0 {
		annotations["mizzen.dev/sticky"] = pick(g, "trace-id", "header=x-user", "cookie=user", "cookie=v; ttl=10s")
	}
}
