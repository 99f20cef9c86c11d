package generated

// fixPatch makes a patch that is harmless wherever it lands: its value fits what it is applied to.
func (g *generator) fixPatch(m map[string]any) {
	applyTo, value := g.patchKind(m)
	m["applyTo"] = applyTo
	match, _ := m["match"].(map[string]any)
	if match != nil {
		want := map[string]string{"CLUSTER": "cluster", "ROUTE_CONFIGURATION": "routeConfiguration", "VIRTUAL_HOST": "routeConfiguration", "HTTP_ROUTE": "routeConfiguration"}[applyTo]
		if want == "" {
			want = "listener"
		}
		for _, k := range []string{"cluster", "routeConfiguration", "listener"} {
			if k != want {
				delete(match, k)
			}
		}
	}
	patch := map[string]any{"operation": "MERGE", "value": value}
	if g.rand.IntN(3) == 0 {
		patch["operation"] = "MERGE_AND_REPLACE_LIST"
	}
	switch applyTo {
	case "HTTP_FILTER":
		patch["operation"] = pick(g, "ADD", "INSERT_FIRST", "INSERT_BEFORE", "INSERT_AFTER")
		if patch["operation"] == "ADD" {
			patch["filterClass"] = pick(g, "AUTHN", "AUTHZ", "STATS", "UNSPECIFIED")
		}
	case "EXTENSION_CONFIG":
		patch["operation"] = "ADD"
	case "NETWORK_FILTER", "LISTENER_FILTER":
		patch["operation"] = "INSERT_FIRST"
	}
	m["patch"] = patch
}

// patchKind chooses what a patch is applied to, by what the focus or its match is about, and a value.
func (g *generator) patchKind(m map[string]any) (string, map[string]any) {
	kinds := []string{"CLUSTER", "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "LISTENER", "HTTP_FILTER", "NETWORK_FILTER", "EXTENSION_CONFIG", "FILTER_CHAIN", "LISTENER_FILTER"}
	at := g.path + ".match"
	switch {
	case g.focused(at + ".cluster"):
		kinds = kinds[:1]
	case g.focused(at + ".routeConfiguration"):
		kinds = kinds[1:4]
	case g.focused(at + ".listener"):
		kinds = kinds[4:7]
	case g.focused(g.path + ".patch.filterClass"):
		kinds = []string{"HTTP_FILTER"}
	}
	applyTo := kinds[g.rand.IntN(len(kinds))]
	lua := map[string]any{"name": "some.lua", "typed_config": map[string]any{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua", "default_source_code": map[string]any{"inline_string": "function envoy_on_request(h) end"}}}
	return applyTo, map[string]map[string]any{
		"CLUSTER":             pick(g, map[string]any{"connect_timeout": "0.5s"}, map[string]any{"dns_lookup_family": "V4_ONLY"}, map[string]any{"circuit_breakers": map[string]any{"thresholds": []any{map[string]any{"max_retries": 7}}}}),
		"ROUTE_CONFIGURATION": {"max_direct_response_body_size_bytes": 8192},
		"VIRTUAL_HOST":        pick(g, map[string]any{"include_request_attempt_count": true}, map[string]any{"request_headers_to_add": []any{map[string]any{"header": map[string]any{"key": "x-patched", "value": "1"}}}}),
		"HTTP_ROUTE":          {"response_headers_to_remove": []any{"x-secret"}},
		"LISTENER":            pick(g, map[string]any{"per_connection_buffer_limit_bytes": 32768}, map[string]any{"tcp_backlog_size": 64}),
		"FILTER_CHAIN":        {"transport_socket_connect_timeout": "3s"},
		"HTTP_FILTER":         lua,
		"NETWORK_FILTER": {"name": "some.rbac", "typed_config": map[string]any{
			"@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "some"}},
		"LISTENER_FILTER":  {"name": "some.tls_inspector", "typed_config": map[string]any{"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}},
		"EXTENSION_CONFIG": {"name": "some.lua", "typed_config": lua["typed_config"]},
	}[applyTo]
}
