package generated

import "strings"

func meshValues() map[string]func(*generator) any {
	tools := func(*generator) any { return rootNamespace + "/tools." + rootNamespace + ".svc.cluster.local" }
	const provider = "MeshConfig.ExtensionProvider."
	return map[string]func(*generator) any{
		"MeshConfig.proxyListenPort": one(15001, 15101), "MeshConfig.proxyInboundListenPort": one(15006, 15106),
		"MeshConfig.trustDomain": one("cluster.local", "td1"), "MeshConfig.trustDomainAliases": one("td2", "old.local"), "MeshConfig.rootNamespace": one(rootNamespace),
		"MeshConfig.accessLogFile": one("/dev/null"), "MeshConfig.accessLogFormat": one("%RESPONSE_CODE%\n", "[%START_TIME%] %REQ(:METHOD)%\n"),
		"MeshConfig.DefaultProviders.tracing=": one([]any{"zip"}, []any{"otel"}), "MeshConfig.DefaultProviders.metrics=": one([]any{builtinMetrics}),
		"MeshConfig.DefaultProviders.accessLogging=": one([]any{builtinLog}, []any{"file", builtinLog}),
		"MeshConfig.discoverySelectors=":             discovery, "LabelSelector.matchLabels=": one(map[string]any{istioNameLabel: "default"}, map[string]any{istioNameLabel: SecondNamespace}),
		"LabelSelectorRequirement.key": one(istioNameLabel, "team"), "LabelSelectorRequirement.operator": one("In", "NotIn", "Exists", "DoesNotExist"), "LabelSelectorRequirement.values": one("default", SecondNamespace, "payments"),
		"ecdhCurves": one("P-256", "X25519"), provider + "EnvoyFileAccessLogProvider.path": one("/dev/null"), provider + "EnvoyFileAccessLogProvider.LogFormat.text": one("%REQ(:PATH)% %RESPONSE_CODE%\n", "%METADATA(ROUTE:istio:config)%"),
		provider + "EnvoyFileAccessLogProvider.LogFormat.labels": logLabels, provider + "EnvoyOpenTelemetryLogProvider.LogFormat.labels": logLabels, provider + "EnvoyOpenTelemetryLogProvider.LogFormat.text": one("%REQ(:PATH)%"),
		"additionalRequestHeadersToLog": headerName, "additionalResponseHeadersToLog": headerName, "additionalResponseTrailersToLog": headerName,
		provider + "name": one("x"), "service": tools, "pathPrefix": one("/check"), "statusOnError": one("503", "403"), "MeshConfig.ExtensionProvider.ZipkinTracingProvider.path": one("/api/v2/spans"),
		provider + "ZipkinTracingProvider.timeout": one("1s", "0.25s"), provider + "HttpService.timeout": one("1s", "1m"), provider + "GrpcService.timeout": one("1s", "0.1s"),
		provider + "HttpService.path": one("/v1/traces"), provider + "HttpHeader.name": headerName, "Tracing.Zipkin.address": one("tools.istio-system:8000"), "Tracing.sampling": one(0.0, 1.0, 100.0),
		"includeHeadersInCheck": headerName, "includeRequestHeadersInCheck": one("x-*", "cookie", "*"), "headersToUpstreamOnAllow": one("x-who", "x-*"), "headersToDownstreamOnDeny": one("x-why"), "headersToDownstreamOnAllow": one("x-seen"),
		"ProxyConfig.environmentVariables#": one("MODE", "_LEVEL2"), "ProxyConfig.proxyMetadata#": one("MODE", "_LEVEL2"), "ProxyConfig.runtimeValues#": one("envoy.reloadable_features.x", "mine"),
		"ProxyConfig.drainDuration": one("1s", "45s", "10m"), "ProxyConfig.statsdUdpAddress": one("127.0.0.1:8125", "[::1]:8125"),
		"ProxyConfig.ProxyHeaders.Server.value": one("front", "some server"), "ProxyConfig.ConnectionSettings.http2InitialStreamWindowSize": one(65535, 262144, 2147483647),
		"ProxyConfig.ConnectionSettings.http2InitialConnectionWindowSize": one(65535, 1048576, 2147483647),
	}
}

// istioNameLabel is the label that every namespace has its name in.
const istioNameLabel = "kubernetes.io/metadata.name"

// What a mesh has without asking.
const (
	builtinMetrics = "prometheus"
	builtinLog     = "envoy"
)

// discovery leaves out one of the namespaces at most, and never the one that has the providers' service.
func discovery(g *generator) any {
	named := func(name string) any { return map[string]any{"matchLabels": map[string]any{istioNameLabel: name}} }
	match := func(key, operator string, values ...any) any {
		e := map[string]any{"key": key, "operator": operator}
		if values != nil {
			e["values"] = values
		}
		return map[string]any{"matchExpressions": []any{e}}
	}
	return pick(g, []any{match("team", "DoesNotExist")}, []any{match(istioNameLabel, "NotIn", "payments")}, []any{match(istioNameLabel, "Exists")},
		[]any{match(istioNameLabel, "In", "default", rootNamespace, SecondNamespace)}, []any{named("default"), named(rootNamespace)}, []any{named(SecondNamespace), named(rootNamespace)})
}

func logLabels(*generator) any {
	return map[string]any{"code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%"}
}

// telemetryValues are those of Telemetry, and of EnvoyFilter.
func telemetryValues() map[string]func(*generator) any {
	return map[string]func(*generator) any{
		"AccessLogging.Filter.expression": one("response.code >= 400", "request.path == '/x'", "connection.mtls"), "MetricsOverrides.tagOverrides#": one("host", "source_cluster", "way"),
		"MetricsOverrides.TagOverride.value": one("request.host", "request.path", "'all'"), "MetricSelector.customMetric": one("istio_response_bytes", "requests_total"),
		"ProviderRef.name": func(g *generator) any { return g.telemetryProvider() }, "Tracing.RequestHeader.name": headerName, "Tracing.customTags#": one("tag", "other"), "Tracing.randomSamplingPercentage": one(0, 0.01, 50, 100),
		"Tracing.Formatter.value": one("%REQ(x-user)%", "text"), "EnvoyFilter.priority": one(-1, 0, 10),
		"EnvoyFilter.ProxyMatch.proxyVersion": one("^mizzen", ".*"), "EnvoyFilter.ProxyMatch.metadata=": one(map[string]any{"NAMESPACE": "default"}),
		"EnvoyFilter.Patch.value":              func(*generator) any { return map[string]any{} },
		"EnvoyFilter.ListenerMatch.portNumber": func(g *generator) any { return g.port() }, "EnvoyFilter.ListenerMatch.name": one("virtualInbound", "virtualOutbound", "0.0.0.0_9080"),
		"EnvoyFilter.ListenerMatch.listenerFilter": one("envoy.filters.listener.tls_inspector"), "EnvoyFilter.ListenerMatch.FilterMatch.name": one("envoy.filters.network.http_connection_manager", "envoy.filters.network.tcp_proxy"),
		"EnvoyFilter.ListenerMatch.SubFilterMatch.name": one("envoy.filters.http.router"), "EnvoyFilter.RouteConfigurationMatch.portNumber": func(g *generator) any { return g.port() },
		"EnvoyFilter.ClusterMatch.service": func(g *generator) any { return g.anyService().host() }, "EnvoyFilter.ClusterMatch.portNumber": func(g *generator) any { return g.port() }, "EnvoyFilter.ClusterMatch.subset": one("v1", "v2"),
	}
}

// telemetryProvider is one of those that every MeshConfig here has, for the part of a Telemetry at hand.
func (g *generator) telemetryProvider() string {
	switch {
	case strings.Contains(g.path, ".metrics"):
		return builtinMetrics
	case strings.Contains(g.path, ".accessLogging"):
		return pick(g, builtinLog, "file")
	}
	return pick(g, "zip", "otel")
}
