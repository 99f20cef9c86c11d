package generated

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// fixMesh makes the providers that others name, each once.
func (g *generator) fixMesh(m map[string]any) {
	seen := map[string]bool{}
	list, _ := m["extensionProviders"].([]any)
	var out []any
	for _, p := range list {
		p, ok := p.(map[string]any)
		if !ok {
			continue
		}
		names := map[string]string{"envoyExtAuthzHttp": "ext-http", "envoyExtAuthzGrpc": "ext-grpc", "zipkin": "zip", "opentelemetry": "otel", "envoyFileAccessLog": "file"}
		for _, key := range slices.Sorted(maps.Keys(p)) {
			q, ok := p[key].(map[string]any)
			if !ok {
				continue
			}
			if name := names[key]; name != "" {
				p["name"] = name
			} else {
				p["name"] = strings.ToLower(key)
			}
			if q["port"] != nil {
				q["port"] = pick(g, 8000, 9000)
				if key == "envoyExtAuthzGrpc" || q["grpc"] != nil || strings.HasSuffix(key, "Als") {
					q["port"] = 9000
				}
			}
		}
		if name := fmt.Sprint(p["name"]); !seen[name] {
			seen[name] = true
			out = append(out, p)
		}
	}
	tools := rootNamespace + "/tools." + rootNamespace + ".svc.cluster.local"
	for _, p := range []struct {
		name, key string
		port      int
	}{{"ext-http", "envoyExtAuthzHttp", 8000}, {"ext-grpc", "envoyExtAuthzGrpc", 9000}, {"zip", "zipkin", 8000}, {"otel", "opentelemetry", 9000}} {
		if !seen[p.name] {
			out = append(out, map[string]any{"name": p.name, p.key: map[string]any{"service": tools, "port": p.port}})
		}
	}
	if !seen["file"] {
		out = append(out, map[string]any{"name": "file", "envoyFileAccessLog": map[string]any{"path": "/dev/null"}})
	}
	m["extensionProviders"] = out
	if m["accessLogEncoding"] == "JSON" && m["accessLogFormat"] != nil {
		m["accessLogFormat"] = `{"code":"%RESPONSE_CODE%"}`
	}
}
