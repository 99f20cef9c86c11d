package generated

import (
	"fmt"
	"maps"
	"strings"
)

// required tells which fields their message makes no sense without.
func required(name string) bool {
	switch name {
	case "VirtualService.hosts", "HTTPRouteDestination.destination", "RouteDestination.destination", "Destination.host", "TLSMatchAttributes.sniHosts", "TLSRoute.match",
		"TLSRoute.route", "TCPRoute.route", "HTTPMirrorPolicy.destination", "HTTPFaultInjection.Delay.percentage", "HTTPFaultInjection.Abort.percentage", "Percent.value", "PortSelector.number",
		"HTTPRetry.attempts", "RegexRewrite.match", "RegexRewrite.rewrite", "HTTPDirectResponse.status", "Delegate.name", "Delegate.namespace",
		"DestinationRule.host", "Subset.name", "TrafficPolicy.PortTrafficPolicy.port", "LoadBalancerSettings.ConsistentHashLB.HTTPCookie.name", "WarmupConfiguration.duration",
		"LoadBalancerSettings.ConsistentHashLB.HTTPCookie.Attribute.name", "LoadBalancerSettings.ConsistentHashLB.MagLev.tableSize", "ConnectionPoolSettings.HTTPSettings.ConnectionKeepalive.interval",
		"ConnectionPoolSettings.HTTPSettings.ConnectionKeepalive.timeout", "ClientTLSSettings.mode",
		"LocalityLoadBalancerSetting.Distribute.from", "LocalityLoadBalancerSetting.Distribute.to", "LocalityLoadBalancerSetting.Failover.from", "LocalityLoadBalancerSetting.Failover.to",
		"ZoneAwareLoadBalancerSetting.Failover.from", "ZoneAwareLoadBalancerSetting.Failover.to", "TrafficPolicy.TunnelSettings.targetHost", "TrafficPolicy.TunnelSettings.targetPort",
		"Gateway.servers", "Gateway.selector", "Server.port", "Server.hosts", "Server.tls", "Port.number", "Port.name", "Port.protocol", "ServerTLSSettings.mode",
		"ServerTLSSettings.TLSCertificate.serverCertificate", "ServerTLSSettings.TLSCertificate.privateKey",
		"ServiceEntry.hosts", "ServiceEntry.ports", "ServiceEntry.resolution", "ServiceEntry.location", "ServicePort.number", "ServicePort.name", "ServicePort.protocol", "WorkloadEntry.address",
		"WorkloadGroup.template", "IstioIngressListener.port", "IstioEgressListener.hosts", "SidecarPort.number", "SidecarPort.protocol", "SidecarPort.name", "OutboundTrafficPolicy.mode",
		"PeerAuthentication.mtls", "PeerAuthentication.MutualTLS.mode", "AuthorizationPolicy.rules", "AuthorizationPolicy.ExtensionProvider.name",
		"PolicyTargetReference.kind", "PolicyTargetReference.name", "Rule.From.source", "Rule.To.operation", "Condition.key", "Condition.values",
		"RequestAuthentication.jwtRules", "JWTRule.issuer", "JWTRule.jwks", "JWTHeader.name", "ClaimToHeader.header", "ClaimToHeader.claim",
		"Telemetry.tracing", "ProviderRef.name", "Tracing.Literal.value", "Tracing.Environment.name", "Tracing.RequestHeader.name", "Tracing.Formatter.value",
		"EnvoyFilter.configPatches", "EnvoyFilter.EnvoyConfigObjectPatch.applyTo", "EnvoyFilter.EnvoyConfigObjectPatch.patch", "EnvoyFilter.Patch.operation", "EnvoyFilter.Patch.value",
		"MeshConfig.extensionProviders", "MeshConfig.ExtensionProvider.name", "LabelSelectorRequirement.key", "LabelSelectorRequirement.operator",
		"AccessLogging.Filter.expression", "ProxyConfig.ProxyHeaders.Server.value":
		return true
	}
	for _, suffix := range []string{"TracingProvider.service", "TracingProvider.port", "LogProvider.service", "LogProvider.port", "AuthorizationHttpProvider.service", "AuthorizationHttpProvider.port",
		"AuthorizationGrpcProvider.service", "AuthorizationGrpcProvider.port", "RequestBody.maxRequestBytes", "HttpHeader.name", "HttpHeader.value", "HttpService.path"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// values gives plausible values, by "Message.field", or by "field" in any message. With "=" the whole of a list or map, with "#" a
// key of a map; otherwise one value, of which a list or map may have several.
func values() map[string]func(*generator) any {
	out := trafficValues()
	maps.Copy(out, edgeValues())
	maps.Copy(out, securityValues())
	maps.Copy(out, meshValues())
	maps.Copy(out, telemetryValues())
	return out
}

func one[T any](list ...T) func(*generator) any {
	return func(g *generator) any { return pick(g, list...) }
}

func headerName(g *generator) any { return pick(g, "x-user", "x-trace", "cookie", "user-agent", "x-a") }

func trafficValues() map[string]func(*generator) any {
	return map[string]func(*generator) any{
		"exportTo=":                    func(g *generator) any { return pick(g, []any{"*"}, []any{"."}, []any{"default", "shop"}) },
		"VirtualService.hosts=":        func(g *generator) any { return g.virtualHosts() },
		"VirtualService.exportTo=":     func(g *generator) any { return pick(g, []any{"*"}, []any{"."}, []any{"default", "shop"}) },
		"DestinationRule.exportTo=":    func(g *generator) any { return pick(g, []any{"*"}, []any{"."}, []any{"default", "shop"}) },
		"ServiceEntry.exportTo=":       func(g *generator) any { return pick(g, []any{"*"}, []any{"."}, []any{"default", "shop"}, []any{"~"}) },
		"VirtualService.gateways=":     func(g *generator) any { return g.virtualGateways() },
		"HTTPMatchRequest.gateways=":   func(g *generator) any { return g.virtualGateways() },
		"TLSMatchAttributes.gateways=": func(g *generator) any { return g.virtualGateways() },
		"L4MatchAttributes.gateways=":  func(g *generator) any { return g.virtualGateways() },
		"HTTPRoute.name":               one("main", "a b", "canary", "r-1"), "HTTPMatchRequest.name": one("m", "m2"), "statPrefix": one("pre", "some-route"),
		"StringMatch.exact": func(g *generator) any { return g.matched("exact") }, "StringMatch.prefix": func(g *generator) any { return g.matched("prefix") },
		"StringMatch.regex":         func(g *generator) any { return g.matched("regex") },
		"HTTPMatchRequest.headers#": headerName, "HTTPMatchRequest.withoutHeaders#": headerName, "HTTPMatchRequest.queryParams#": one("q", "user", "a.b"),
		"HTTPMatchRequest.port": func(g *generator) any { return g.port() }, "TLSMatchAttributes.port": func(g *generator) any { return g.port() }, "L4MatchAttributes.port": func(g *generator) any { return g.port() },
		"sourceLabels=": func(g *generator) any { return g.labels() }, "HTTPMatchRequest.sourceLabels=": func(g *generator) any { return g.labels() },
		"TLSMatchAttributes.sourceLabels=": func(g *generator) any { return g.labels() }, "L4MatchAttributes.sourceLabels=": func(g *generator) any { return g.labels() },
		"sourceNamespace": one("default", "shop"), "destinationSubnets": one("10.0.0.0/8", "10.96.0.1", "fd00::/8", "192.168.1.1/32"),
		"sniHosts":         func(g *generator) any { return g.hosts[g.rand.IntN(len(g.hosts))] },
		"Destination.host": func(g *generator) any { return g.host() }, "Destination.subset": one("v1", "v2"), "PortSelector.number": func(g *generator) any { return g.port() },
		"HTTPRouteDestination.weight": one(1, 10, 50, 100), "RouteDestination.weight": one(1, 10, 50, 100),
		"Headers.HeaderOperations.set#": one("x-set", "x-b", "user-agent"), "Headers.HeaderOperations.add#": one("x-add", "x-c"), "Headers.HeaderOperations.remove": one("x-gone", "x-d"),
		"Headers.HeaderOperations.set": one("a", "100%%", "%DOWNSTREAM_REMOTE_ADDRESS%", "b c"), "Headers.HeaderOperations.add": one("a", "%REQ(x-user)%", ""),
		"HTTPRedirect.uri": one("/elsewhere", "/a?b=c"), "HTTPRedirect.authority": one("other.example.com", "a.b:8080"), "HTTPRedirect.scheme": one("http", "https"), "HTTPRedirect.port": one(80, 443, 8443),
		"HTTPRedirect.redirectCode": one(301, 302, 303, 307, 308), "HTTPRedirect.prefixRewrite": one("/new", "/"), "HTTPDirectResponse.status": one(200, 404, 503, 599), "HTTPBody.string": one("", "hello", "üñí"),
		"HTTPRewrite.uri": one("/", "/v2", "/v2/"), "HTTPRewrite.authority": one("inner.example.com", "x:80"), "RegexRewrite.match": one("/v1/(.*)", "^/a"), "RegexRewrite.rewrite": one("/v2", `/x\0`),
		"HTTPRetry.attempts": one(1, 3, 10), "HTTPRetry.retryOn": one("5xx", "gateway-error,connect-failure", "503,reset", "retriable-4xx,429"),
		"HTTPFaultInjection.Abort.httpStatus": one(200, 400, 503, 599), "HTTPFaultInjection.Abort.grpcStatus": one("UNAVAILABLE", "NOT_FOUND"), "HTTPFaultInjection.Abort.http2Error": one("x"),
		"HTTPFaultInjection.Delay.percent": one(10, 50), "HTTPRoute.mirrorPercent": one(10, 100),
		"CorsPolicy.allowOrigin": one("https://a.example", "*"), "CorsPolicy.allowMethods": one("GET", "POST", "*"), "CorsPolicy.allowHeaders": headerName, "CorsPolicy.exposeHeaders": headerName, "CorsPolicy.maxAge": one("24h", "0s", "10s"),
		"Delegate.name": one("delegate"), "Delegate.namespace": one("default"),
		"DestinationRule.host": func(g *generator) any { return g.ruleHost() }, "Subset.name": one("v1", "v2", "old"), "Subset.labels=": func(g *generator) any { return map[string]any{"version": pick(g, "v1", "v2")} },
		"LoadBalancerSettings.ConsistentHashLB.httpHeaderName": headerName, "LoadBalancerSettings.ConsistentHashLB.HTTPCookie.name": one("session", "u"), "LoadBalancerSettings.ConsistentHashLB.HTTPCookie.path": one("/", "/a"),
		"LoadBalancerSettings.ConsistentHashLB.HTTPCookie.ttl": one("0s", "10s", "1h"), "LoadBalancerSettings.ConsistentHashLB.HTTPCookie.Attribute.name": one("SameSite", "Secure", "HttpOnly"),
		"LoadBalancerSettings.ConsistentHashLB.HTTPCookie.Attribute.value": one("", "Strict"),
		// No larger: the most that Envoy allows is a minute of its work.
		"tableSize": one(65537, 3, 1009, 131071), "minimumRingSize": one(0, 1, 1024, 65536),
		"LoadBalancerSettings.warmupDurationSecs": one("30s"), "WarmupConfiguration.minimumPercent": one(0, 10, 100), "WarmupConfiguration.aggression": one(1, 1.5, 10),
		"Distribute.from": locality, "LocalityLoadBalancerSetting.Distribute.from": locality, "LocalityLoadBalancerSetting.Distribute.to=": one(map[string]any{"r1": 70, "r2": 30}, map[string]any{"r1/z1/*": 100}),
		"LocalityLoadBalancerSetting.Failover.from": one("r1"), "LocalityLoadBalancerSetting.Failover.to": one("r2", "r3"), "ZoneAwareLoadBalancerSetting.Failover.from": one("r1"), "ZoneAwareLoadBalancerSetting.Failover.to": one("r2", "r3"),
		"LocalityLoadBalancerSetting.failoverPriority": one("version", "app=reviews", "topology.kubernetes.io/region"), "ZoneAwareLoadBalancerSetting.failoverPriority": one("version", "app=reviews"),
		"OutlierDetection.maxEjectionPercent": one(1, 50, 100), "OutlierDetection.minHealthPercent": one(0, 50, 100), "outlierDetectionHttpErrorCodes": one(500, 503, 429), "consecutiveErrors": one(3),
		"TrafficPolicy.RetryBudget.percent": one(0, 20, 100), "TrafficPolicy.TunnelSettings.protocol": one("CONNECT", "POST"), "TrafficPolicy.TunnelSettings.targetHost": one("target.example.com", "10.0.0.1"), "TrafficPolicy.TunnelSettings.targetPort": one(443, 8080),
		"ClientTLSSettings.clientCertificate": func(g *generator) any { return g.opt.Keys.CertificateFile }, "ClientTLSSettings.privateKey": func(g *generator) any { return g.opt.Keys.KeyFile },
		"ClientTLSSettings.caCertificates": func(g *generator) any { return g.opt.Keys.CAFile }, "ClientTLSSettings.caCrl": func(g *generator) any { return g.opt.Keys.CRLFile }, "credentialName": one("credential", "mutual"),
		"ClientTLSSettings.sni": one("sni.example.com", "a"), "subjectAltNames": one("spiffe://cluster.local/ns/default/sa/reviews", "a.example.com"),
	}
}

func locality(g *generator) any { return pick(g, "r1", "r1/z1/*", "r2/*", "*") }

// virtualHosts are the hosts of the VirtualService at hand.
func (g *generator) virtualHosts() any {
	g.hosts = nil
	for range 1 + g.rand.IntN(2) {
		h := g.host()
		if g.edge && g.rand.IntN(2) == 0 {
			h = pick(g, "shop.example.com", "*.example.com", "api.example.com")
		}
		if len(g.hosts) == 0 || g.hosts[0] != h {
			g.hosts = append(g.hosts, h)
		}
	}
	var out []any
	for _, h := range g.hosts {
		out = append(out, h)
	}
	return out
}

func (g *generator) virtualGateways() any {
	if !g.edge || len(g.gateways) == 0 {
		return []any{"mesh"}
	}
	name := g.gateways[g.rand.IntN(len(g.gateways))]
	return pick(g, []any{name}, []any{name, "mesh"})
}

// bind decides who has the VirtualService at hand.
func (g *generator) bind() {
	g.edge = g.rand.IntN(2) == 0 || strings.Contains(g.focus, "gateways")
	g.hosts = []string{"reviews"}
}

// matched is a value of a StringMatch, by where it stands.
func (g *generator) matched(how string) string {
	switch {
	case strings.Contains(g.path, ".uri"):
		if how == "regex" {
			return pick(g, "/v[0-9]+/.*", "/(a|b)", ".*", "(?i)/x", "/\\d{3}")
		}
		return pick(g, "/", "/a", "/api/v1", "/static/", "/ü", "/a%20b")
	case strings.Contains(g.path, ".method"):
		return pick(g, "GET", "POST")
	case strings.Contains(g.path, ".scheme"):
		return pick(g, "http", "https")
	case strings.Contains(g.path, ".authority"), strings.Contains(g.path, "llowOrigin"):
		return pick(g, "shop.example.com", "a", "https://a.example")
	}
	if how == "regex" {
		return pick(g, ".*", "[a-z]+", "^(.*?;)?(user=jason)(;.*)?$")
	}
	return pick(g, "jason", "v1", "a b", "x")
}

// ruleHost is a DestinationRule's.
func (g *generator) ruleHost() string {
	switch g.rand.IntN(8) {
	case 0:
		return "*." + pick(g, "default", "shop") + ".svc.cluster.local"
	case 1:
		return "*.example.com"
	}
	return g.host()
}

// entryHost is a new ServiceEntry's.
func (g *generator) entryHost() string {
	return fmt.Sprintf("%se%d-%d.example.com", pick(g, "", "", "", "*."), g.serial, g.rand.IntN(3))
}
