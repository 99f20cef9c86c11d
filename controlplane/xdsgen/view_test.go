package xdsgen

import (
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
)

const (
	reviewsV1 = "outbound|9080|v1|reviews.default.svc.cluster.local"
	reviewsV2 = "outbound|9080|v2|reviews.default.svc.cluster.local"
	reviews   = "outbound|9080||reviews.default.svc.cluster.local"
)

func ptr[T any](v T) *T { return &v }

func exact(s string) *match.String  { return &match.String{Exact: &s} }
func prefix(s string) *match.String { return &match.String{Prefix: &s} }

var reviewsRule = mesh.Origin{Kind: "VirtualService", Namespace: "default", Name: "reviews", File: "reviews.yaml", Line: 3}

func aborting() *fault.Config {
	return &fault.Config{Rules: []fault.Rule{{Abort: &fault.Abort{Percentage: filter.Whole, HTTPStatus: 503}}}}
}

// canaryHost has a canary of two rules, as the view makes it: choices first, then the native fallback.
func canaryHost() *mesh.VirtualHost {
	def := &mesh.Route{Name: "main", Origin: reviewsRule, Fault: &fault.Rule{}}
	byUser := &mesh.Match{Request: match.Request{
		Path: prefix("/api"), Headers: []match.Named{{Name: "end-user", String: *exact("jason")}},
	}}
	v1 := &mesh.WeightedCluster{Cluster: reviewsV1, Weight: 90}
	v2 := &mesh.WeightedCluster{Cluster: reviewsV2, Weight: 10, Headers: mesh.HeaderOps{
		Request: mesh.HeaderEdit{Set: map[string]string{"x-side": "v2", "host": "v2.example.com"}},
	}}
	return &mesh.VirtualHost{
		Name: "reviews.default.svc.cluster.local:9080", Domains: []string{"reviews", "reviews:9080"},
		Canary: &canary.Config{Rules: []canary.Rule{{
			Name: "main", Match: []match.Request{byUser.Request},
			Destinations: []canary.Destination{{Name: "v1", Weight: 90, Route: "r0.d0"}, {Name: "v2", Weight: 10, Route: "r0.d1"}},
		}}},
		RateLimit: &ratelimit.Config{Limits: []ratelimit.Limit{{Name: "all", Requests: 10, Per: filter.Duration(time.Second)}}},
		Origins:   []mesh.Origin{reviewsRule},
		Routes: []*mesh.BoundRoute{
			{Name: "main", Match: byUser, Choice: "r0.d0", Route: def, Clusters: []*mesh.WeightedCluster{v1}, Fault: aborting()},
			{Name: "main", Match: byUser, Choice: "r0.d1", Route: def, Clusters: []*mesh.WeightedCluster{v2}},
			{Name: "main", Match: byUser, Route: def, Clusters: []*mesh.WeightedCluster{v1, v2}, Fault: aborting()},
		},
	}
}

// richRoutes uses every part of a route once.
func richRoutes() []*mesh.BoundRoute {
	one := []*mesh.WeightedCluster{{Cluster: reviews}}
	ttl := time.Hour
	return []*mesh.BoundRoute{
		{
			Name: "everything",
			Match: &mesh.Match{StatPrefix: "every", Request: match.Request{
				Path: exact("/Every"), IgnorePathCase: true, Method: exact("GET"), Scheme: exact("http"), Authority: prefix("rev"),
				Headers: []match.Named{
					{Name: "x-z", String: match.String{Regex: ptr("a+"), Invert: true, AbsentAsEmpty: true}},
					{Name: "x-a", String: match.String{Present: true}},
					{Name: "x-b", String: match.String{Absent: true}},
					{Name: "x-c", String: match.String{Suffix: ptr("end")}},
				},
				Cookies: []match.Named{{Name: "user", String: *exact("a.b")}},
				Query:   []match.Named{{Name: "q", String: match.String{Regex: ptr("[0-9]+")}}, {Name: "p", String: match.String{Present: true}}},
			}},
			Route: &mesh.Route{
				Timeout: 2 * time.Second, Rewrite: &mesh.Rewrite{Path: "/new", Authority: "other.example.com"},
				Retries: &mesh.Retries{Attempts: 3, PerTry: time.Second, On: "5xx,retriable-status-codes", StatusCodes: []uint32{418},
					Backoff: 10 * time.Millisecond, AvoidPrevious: true, RemoteLocality: true},
				CORS: &mesh.CORS{Origins: []match.String{*exact("https://a.example.com"), {Regex: ptr(".*b")}}, Methods: []string{"GET", "POST"},
					Headers: []string{"x-a"}, Expose: []string{"x-b"}, MaxAge: time.Hour, Credentials: ptr(true)},
				Headers: mesh.HeaderOps{
					Request:  mesh.HeaderEdit{Set: map[string]string{"X-B": "2", "X-A": "1", ":path": "/no"}, Add: map[string]string{"X-C": "3"}, Remove: []string{"x-d", "host"}},
					Response: mesh.HeaderEdit{Add: map[string]string{"x-e": ""}},
				},
				Origin: reviewsRule,
			},
			Clusters: one, Mirrors: []*mesh.MirrorCluster{{Cluster: reviewsV2, PPM: 250_000}, {Cluster: reviewsV1, PPM: 0}},
			Fault: aborting(),
		},
		{Name: "hash", Match: &mesh.Match{Request: match.Request{Path: prefix("/hash")}}, Route: &mesh.Route{}, Clusters: one, Hash: []*mesh.HashKey{
			{Header: "x-user"}, {QueryParameter: "user"}, {SourceIP: true},
			{Cookie: &mesh.HashCookie{Name: "user", Path: "/", TTL: &ttl}}, {Cookie: &mesh.HashCookie{Name: "plain"}},
		}},
		{Name: "regex", Match: &mesh.Match{Request: match.Request{Path: &match.String{Regex: ptr("/r/([0-9]+)")}}},
			Route: &mesh.Route{Rewrite: &mesh.Rewrite{RegexMatch: "/r/([0-9]+)", RegexSub: `/n/\1`}}, Clusters: one},
		{Name: "redirect", Match: &mesh.Match{Request: match.Request{Path: prefix("/old")}},
			Route: &mesh.Route{Redirect: &mesh.Redirect{Authority: "new.example.com", Prefix: "/new", Code: 302, PortFromRequest: true}}},
		{Name: "direct", Match: &mesh.Match{Request: match.Request{Path: prefix("/teapot")}},
			Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 418, Body: "short and stout"}}},
		{Name: "gone", Match: &mesh.Match{Request: match.Request{Path: prefix("/gone")}}, Route: &mesh.Route{},
			Clusters: []*mesh.WeightedCluster{{Cluster: "outbound|9080|v9|reviews.default.svc.cluster.local", Missing: true}}},
		{Name: "rest", Route: &mesh.Route{}, Clusters: one},
	}
}

func catchAll(cluster string) *mesh.VirtualHost {
	return &mesh.VirtualHost{Name: "allow_any", Domains: []string{"*"}, Routes: []*mesh.BoundRoute{
		{Connect: true, Clusters: []*mesh.WeightedCluster{{Cluster: cluster}}},
		{Name: "allow_any", Clusters: []*mesh.WeightedCluster{{Cluster: cluster}}},
	}}
}

// richTraffic uses every part of a traffic policy once.
func richTraffic() *mesh.Traffic {
	return &mesh.Traffic{
		LoadBalancer: &mesh.LoadBalancer{Kind: "ROUND_ROBIN", Warmup: time.Minute},
		Pool: &mesh.ConnectionPool{
			MaxConnections: 1, ConnectTimeout: 3 * time.Second, TCPIdleTimeout: time.Minute, MaxConnectionDuration: time.Hour,
			Keepalive: true, KeepaliveProbes: 3, KeepaliveTime: time.Minute, KeepaliveInterval: time.Second,
			MaxPendingRequests: 2, MaxRequests: 3, MaxRequestsPerConnection: 4, MaxRetries: 5, IdleTimeout: 30 * time.Second,
			Upgrade: "UPGRADE", MaxConcurrentStreams: 7,
		},
		Outlier: &mesh.Outlier{
			Consecutive5xx: ptr(uint32(1)), ConsecutiveGatewayErrors: ptr(uint32(0)), SplitLocalErrors: true, ConsecutiveLocalFailures: ptr(uint32(2)),
			Interval: time.Second, BaseEjection: 3 * time.Minute, MaxEjectionPercent: 100, MinHealthPercent: 20,
		},
	}
}

func richClusters() []*mesh.Cluster {
	rule := mesh.Origin{Kind: "DestinationRule", Namespace: "default", Name: "reviews", File: "reviews.yaml", Line: 30}
	host := func(name, subset string, t *mesh.Traffic) *mesh.Cluster {
		return &mesh.Cluster{Name: name, Protocol: mesh.HTTP, Traffic: t, Hostname: "reviews.default.svc.cluster.local",
			Namespace: "default", Subset: subset, Port: 9080, Origins: []mesh.Origin{rule}}
	}
	lb := func(b mesh.LoadBalancer) *mesh.Traffic { return &mesh.Traffic{LoadBalancer: &b} }
	named := func(name string, k mesh.ClusterKind, p mesh.Protocol, t *mesh.Traffic, hosts ...*mesh.Endpoint) *mesh.Cluster {
		return &mesh.Cluster{Name: name, Kind: k, Protocol: p, Traffic: t, Hosts: hosts}
	}
	return []*mesh.Cluster{
		named("BlackHoleCluster", mesh.ClusterBlackHole, mesh.TCP, nil),
		named("PassthroughCluster", mesh.ClusterOriginalDst, mesh.TCP, nil),
		named("dynamic", mesh.ClusterDynamicDNS, mesh.HTTP, nil),
		{Name: "inbound|9080||", Kind: mesh.ClusterStatic, Inbound: true, Protocol: mesh.HTTP, Port: 9080, Hostname: "reviews.default.svc.cluster.local", Namespace: "default"},
		{Name: "InboundPassthroughCluster", Kind: mesh.ClusterOriginalDst, Inbound: true, Protocol: mesh.TCP},
		named("grpc", mesh.ClusterEDS, mesh.GRPC, lb(mesh.LoadBalancer{Kind: "RANDOM"})),
		named("client", mesh.ClusterEDS, mesh.HTTP, &mesh.Traffic{Pool: &mesh.ConnectionPool{UseClientProtocol: true}}),
		named("ring", mesh.ClusterEDS, mesh.HTTP, lb(mesh.LoadBalancer{Kind: "RING_HASH"})),
		named("maglev", mesh.ClusterEDS, mesh.HTTP, lb(mesh.LoadBalancer{Kind: "MAGLEV", TableSize: 65537})),
		named("through", mesh.ClusterEDS, mesh.TCP, lb(mesh.LoadBalancer{Kind: "PASSTHROUGH"})),
		named("least", mesh.ClusterEDS, mesh.HTTP, lb(mesh.LoadBalancer{Kind: "LEAST_REQUEST", Warmup: time.Second})),
		named("dns", mesh.ClusterStrictDNS, mesh.HTTP, nil, &mesh.Endpoint{Address: "localhost", Port: 80}),
		named("dnsrr", mesh.ClusterLogicalDNS, mesh.HTTP, nil, &mesh.Endpoint{Address: "localhost", Port: 80}),
		host(reviews, "", nil), host(reviewsV1, "v1", richTraffic()), host(reviewsV2, "v2", nil),
	}
}

// logged gives every listener an access log.
func logged(v *mesh.View) {
	for _, l := range v.Listeners {
		l.Logs = []*mesh.AccessLog{{Provider: &mesh.LogProvider{Kind: mesh.LogFile, Path: "/dev/stdout"}}}
	}
}

// sidecarView is a view with one of everything that a sidecar can have.
func sidecarView() *mesh.View {
	v := &mesh.View{
		Node:     mesh.Node{ID: "sidecar~10.0.0.1~reviews-v1.default~default.svc.cluster.local", Intercepts: true, Module: true, AppAddress: "127.2.0.1"},
		Settings: mesh.Settings{OutboundAny: true, DefaultRetries: &mesh.Retries{Attempts: 2, On: "connect-failure", AvoidPrevious: true}},
		Clusters: richClusters(),
		Tables: []*mesh.RouteTable{
			{Name: "9080", VirtualHosts: []*mesh.VirtualHost{canaryHost(), {Name: "rich:9080", Domains: []string{"rich"}, Routes: richRoutes()}}, CatchAll: catchAll("PassthroughCluster")},
			{Name: "http_proxy", Proxy: true, VirtualHosts: []*mesh.VirtualHost{{Name: "tls:9080", Domains: []string{"tls"}, RequireTLS: true}}, CatchAll: catchAll("dynamic")},
			{Name: "inbound|9080||", Inbound: true, CatchAll: &mesh.VirtualHost{Name: "inbound|http|9080", Domains: []string{"*"},
				RateLimit: &ratelimit.Config{Limits: []ratelimit.Limit{{Name: "in", Requests: 1, Per: filter.Duration(time.Second)}}},
				Routes:    []*mesh.BoundRoute{{Name: "default", Clusters: []*mesh.WeightedCluster{{Cluster: "inbound|9080||"}}}}}},
		},
		Listeners: []*mesh.Listener{
			{Name: "0.0.0.0_9080", Kind: mesh.ListenOutboundHTTP, Address: "0.0.0.0", Port: 9080, Table: "9080", Tracing: &tracing.Config{}},
			{Name: "10.0.0.1_9081", Kind: mesh.ListenInbound, Address: "127.0.0.1", Port: 9081, Inbound: []*mesh.Inbound{{Port: 9081, Protocol: mesh.HTTP, Cluster: "inbound|9080||", Table: "inbound|9080||"}}},
			{Name: "10.1.0.1_6379", Kind: mesh.ListenOutboundTCP, Address: "10.1.0.1", Port: 6379, Cluster: reviewsV1},
			{Name: "http_proxy", Kind: mesh.ListenHTTPProxy, Address: "127.0.0.1", Port: 15101, Table: "http_proxy"},
			{Name: "virtualInbound", Kind: mesh.ListenVirtualInbound, Address: "0.0.0.0", Port: 15106, Cluster: "InboundPassthroughCluster", Inbound: []*mesh.Inbound{
				{Port: 9080, Protocol: mesh.HTTP, Cluster: "inbound|9080||", Table: "inbound|9080||"},
				{Port: 6379, Protocol: mesh.TCP, Cluster: "inbound|9080||"},
			}},
			{Name: "virtualOutbound", Kind: mesh.ListenVirtualOutbound, Address: "0.0.0.0", Port: 15101, Cluster: "PassthroughCluster"},
		},
	}
	for _, c := range v.Clusters {
		if c.Kind == mesh.ClusterEDS {
			v.Endpoints = append(v.Endpoints, &mesh.EndpointGroup{Cluster: c.Name, Endpoints: []*mesh.Endpoint{
				{Address: "10.0.0.2", Port: 9080, Ready: true, Locality: "r/z/s", Weight: 3},
				{Address: "10.0.0.3", Port: 9080, Draining: true},
			}})
		}
	}
	logged(v)
	return v
}

// gatewayView is a gateway with one server.
func gatewayView() *mesh.View {
	return &mesh.View{
		Node:      mesh.Node{ID: "router~127.0.0.1~gw.istio-system~istio-system.svc.cluster.local", Gateway: true, Module: true},
		Clusters:  richClusters(),
		Tables:    []*mesh.RouteTable{{Name: "http.80", Gateway: true, VirtualHosts: []*mesh.VirtualHost{{Name: "shop.example.com:80", Domains: []string{"shop.example.com"}, Routes: richRoutes()}}}},
		Listeners: []*mesh.Listener{{Name: "0.0.0.0_80", Kind: mesh.ListenGateway, Address: "127.0.0.1", Port: 8080, Table: "http.80"}},
	}
}
