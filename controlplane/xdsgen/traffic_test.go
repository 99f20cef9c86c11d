package xdsgen

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// trafficMesh is a sidecar's Envoy, given over ADS what Build made of a view, between a client and three upstreams.
type trafficMesh struct {
	*envoytest.Envoy
	t              *testing.T
	v1, v2, copies *envoytest.Upstream
	proxy, inbound int    // ports
	noFlags        string // how the access log says that there are none
}

func to(cluster string) []*mesh.WeightedCluster { return []*mesh.WeightedCluster{{Cluster: cluster}} }

func path(p *match.String) *mesh.Match { return &mesh.Match{Request: match.Request{Path: p}} }

func startTraffic(t *testing.T) *trafficMesh {
	t.Helper()
	m := newTraffic(t)
	v := m.view()
	m.serve(t, v, build(t, v), "")
	return m
}

// newTraffic is all but the Envoy.
func newTraffic(t *testing.T) *trafficMesh {
	t.Helper()
	envoytest.Find(t)
	return &trafficMesh{
		t: t, v1: envoytest.NewUpstream(t, "v1"), v2: envoytest.NewUpstream(t, "v2"), copies: envoytest.NewUpstream(t, "copies"),
		proxy: envoytest.FreePort(t), inbound: envoytest.FreePort(t),
	}
}

// serve starts the Envoy, which gets res, made of v; module is envoytest.Options'.
func (m *trafficMesh) serve(t *testing.T, v *mesh.View, res *Resources, module string) {
	t.Helper()
	f := newFakeADS(t, res)
	m.Envoy = envoytest.Start(t, envoytest.Options{Config: bootConfig(t, f, v.Node.ID), Module: module})
	t.Cleanup(func() {
		if n := f.refusals(); len(n) > 0 {
			t.Error("refused:", n)
		}
	})
}

func (m *trafficMesh) view() *mesh.View {
	local := func(ports ...int) (out []*mesh.Endpoint) {
		for _, p := range ports {
			out = append(out, &mesh.Endpoint{Address: "127.0.0.1", Port: uint32(p), Ready: true})
		}
		return out
	}
	v := &mesh.View{
		Node: mesh.Node{ID: "sidecar~127.0.0.1~client.default~default.svc.cluster.local", Module: true},
		Settings: mesh.Settings{OutboundAny: true,
			DefaultRetries: &mesh.Retries{Attempts: 2, On: "connect-failure,refused-stream", AvoidPrevious: true}},
		Listeners: []*mesh.Listener{
			{Name: "inbound", Kind: mesh.ListenInbound, Address: "127.0.0.1", Port: uint32(m.inbound), Tracing: &tracing.Config{},
				Inbound: []*mesh.Inbound{{Port: uint32(m.v1.Port), Protocol: mesh.HTTP, Cluster: "inbound|1||", Table: "inbound|1||"}}},
			{Name: "proxy", Kind: mesh.ListenHTTPProxy, Address: "127.0.0.1", Port: uint32(m.proxy), Table: "http_proxy", Tracing: &tracing.Config{}},
		},
		Tables: []*mesh.RouteTable{
			{Name: "http_proxy", Proxy: true, VirtualHosts: m.hosts(), CatchAll: catchAll("PassthroughCluster")},
			{Name: "inbound|1||", Inbound: true, CatchAll: &mesh.VirtualHost{Name: "inbound|http|1", Domains: []string{"*"}, Routes: []*mesh.BoundRoute{{Name: "default", Clusters: to("inbound|1||")}}}},
		},
		Clusters: []*mesh.Cluster{
			{Name: "inbound|1||", Kind: mesh.ClusterStatic, Inbound: true, Protocol: mesh.HTTP, Hosts: local(m.v1.Port)},
			{Name: "PassthroughCluster", Kind: mesh.ClusterDynamicDNS},
		},
	}
	logged(v)
	eds := func(name string, t *mesh.Traffic, ports ...int) {
		v.Clusters = append(v.Clusters, &mesh.Cluster{Name: name, Protocol: mesh.HTTP, Traffic: t})
		v.Endpoints = append(v.Endpoints, &mesh.EndpointGroup{Cluster: name, Endpoints: local(ports...)})
	}
	lb := func(kind string) *mesh.Traffic { return &mesh.Traffic{LoadBalancer: &mesh.LoadBalancer{Kind: kind}} }
	eds("v1", nil, m.v1.Port)
	eds("v2", nil, m.v2.Port)
	eds("copies", nil, m.copies.Port)
	eds("half", lb("ROUND_ROBIN"), m.v1.Port, envoytest.FreePort(m.t))
	eds("ring", lb("RING_HASH"), m.v1.Port, m.v2.Port)
	v.Clusters = append(v.Clusters, &mesh.Cluster{Name: "h2", Kind: mesh.ClusterStrictDNS, Protocol: mesh.GRPC, Hosts: []*mesh.Endpoint{{Address: "localhost", Port: uint32(m.v2.Port)}}})
	return v
}

func (m *trafficMesh) hosts() []*mesh.VirtualHost {
	host := func(name string, routes ...*mesh.BoundRoute) *mesh.VirtualHost {
		return &mesh.VirtualHost{Name: name + ":80", Domains: []string{name}, Routes: routes}
	}
	sides := []*mesh.WeightedCluster{{Cluster: "v1", Weight: 70}, {Cluster: "v2", Weight: 30}}
	split := host("split",
		&mesh.BoundRoute{Name: "jason", Choice: "r0.d0", Clusters: to("v2"), Route: &mesh.Route{},
			Fault: &fault.Config{Rules: []fault.Rule{{Abort: &fault.Abort{Percentage: filter.Whole, HTTPStatus: 418}}}}},
		&mesh.BoundRoute{Name: "rest", Choice: "r1.d0", Clusters: to("v1"), Route: &mesh.Route{}},
		&mesh.BoundRoute{Name: "rest", Choice: "r1.d1", Clusters: to("v2"), Route: &mesh.Route{}},
		&mesh.BoundRoute{Name: "native", Clusters: sides, Route: &mesh.Route{}})
	split.Canary = &canary.Config{Rules: []canary.Rule{
		{Name: "jason", Match: []match.Request{{Headers: []match.Named{{Name: "end-user", String: *exact("jason")}}}}, Destinations: []canary.Destination{{Name: "v2", Route: "r0.d0"}}},
		{Name: "rest", Destinations: []canary.Destination{{Name: "v1", Weight: 70, Route: "r1.d0"}, {Name: "v2", Weight: 30, Route: "r1.d1"}}},
	}}
	limited := host("limited",
		&mesh.BoundRoute{Name: "faulty", Match: path(prefix("/fault")), Clusters: to("v1"), Route: &mesh.Route{}, Fault: aborting()},
		&mesh.BoundRoute{Name: "plain", Clusters: to("v1"), Route: &mesh.Route{}})
	limited.RateLimit = &ratelimit.Config{Limits: []ratelimit.Limit{{Name: "two", Requests: 2, Per: filter.Duration(time.Hour)}}}
	rewrite := func(to string) *mesh.Route { return &mesh.Route{Rewrite: &mesh.Rewrite{Path: to}} }
	return []*mesh.VirtualHost{
		split, limited,
		host("rewrite",
			&mesh.BoundRoute{Match: path(prefix("/v1")), Route: rewrite("/"), Clusters: to("v1")},
			&mesh.BoundRoute{Match: path(exact("/exact")), Route: rewrite("/whole"), Clusters: to("v1")},
			&mesh.BoundRoute{Match: path(&match.String{Regex: ptr("/n/[0-9]+")}), Route: &mesh.Route{Rewrite: &mesh.Rewrite{RegexMatch: "/n/([0-9]+)", RegexSub: `/m/\1`, Authority: "inner"}}, Clusters: to("v1")},
			&mesh.BoundRoute{Match: path(prefix("/A b")), Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 200, Body: "decoded"}}},
			&mesh.BoundRoute{Match: path(prefix("/x/")), Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 200, Body: "x"}}},
			&mesh.BoundRoute{Match: path(prefix("/old")), Route: &mesh.Route{Redirect: &mesh.Redirect{Authority: "new", Prefix: "/fresh", Code: 302}}}),
		host("cookies",
			&mesh.BoundRoute{Match: &mesh.Match{Request: match.Request{Cookies: []match.Named{{Name: "user", String: *exact("a.b")}}}}, Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 201}}},
			&mesh.BoundRoute{Match: &mesh.Match{Request: match.Request{Cookies: []match.Named{{Name: "user", String: match.String{Absent: true}}}}}, Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 203}}},
			&mesh.BoundRoute{Route: &mesh.Route{Direct: &mesh.DirectResponse{Status: 202}}}),
		host("mirror", &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: to("v1"), Mirrors: []*mesh.MirrorCluster{{Cluster: "copies", PPM: 1_000_000}}}),
		host("half", &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: to("half")}),
		host("gone", &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: []*mesh.WeightedCluster{{Cluster: "nowhere", Missing: true}}}),
		host("nobody", &mesh.BoundRoute{Route: &mesh.Route{}}),
		host("ring", &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: to("ring"), Hash: []*mesh.HashKey{{Header: "x-user"}}}),
		host("h2", &mesh.BoundRoute{Route: &mesh.Route{}, Clusters: to("h2")}),
	}
}

// get asks host for path through the proxy's listener.
func (m *trafficMesh) get(host, path string, headers ...string) *envoytest.Answer {
	m.t.Helper()
	return m.Get(m.t, m.proxy, path, append(headers, "host: "+host)...)
}

// TestTraffic sends requests through what Build makes.
func TestTraffic(t *testing.T) {
	m := startTraffic(t)
	for name, check := range map[string]func(*testing.T, *trafficMesh){
		"canary": checkCanary, "policies": checkPolicies, "rewrite": checkRewrite, "upstreams": checkUpstreams,
		"headers": checkHeaders, "tunnel": checkTunnel, "inbound": checkInbound,
	} {
		t.Run(name, func(t *testing.T) { sub := *m; sub.t = t; check(t, &sub) })
	}
}

func checkCanary(t *testing.T, m *trafficMesh) {
	if a := m.get("split", "/", "end-user: jason"); a.Status != 418 {
		t.Errorf("the chosen route's fault: %d", a.Status)
	}
	const n = 400
	v2 := 0
	for range n {
		a := m.get("split", "/", "x-mizzen-route: r0.d0", "x-mizzen-cluster: copies")
		e := a.Echo()
		if a.Status != 200 || e.Headers["x-mizzen-route"] != "" || e.Headers["x-mizzen-cluster"] != "" {
			t.Fatalf("status %d, %v", a.Status, e.Headers)
		}
		if e.Name == "v2" {
			v2++
		}
	}
	if sigma := math.Sqrt(n * .3 * .7); math.Abs(float64(v2)-n*.3) > 5*sigma {
		t.Errorf("%d of %d went to v2, want 30 %% within 5 sigma", v2, n)
	}
	envoytest.Await(t, 15*time.Second, "the decision at the end of the access log's line", func() bool {
		return strings.Contains(m.Log(), " - rest \"rest/v2\" \""+m.noFlags+"\"\n")
	})
}

func checkPolicies(t *testing.T, m *trafficMesh) {
	got := []int{m.get("limited", "/").Status, m.get("limited", "/fault").Status, m.get("limited", "/").Status, m.get("limited", "/fault").Status}
	if want := []int{200, 503, 429, 429}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("statuses %v, want %v: one limit over both routes, and it refuses before the fault", got, want)
	}
	for _, flag := range []string{"FI", "RL"} {
		envoytest.Await(t, 15*time.Second, "the flag "+flag+" in the last column of the access log", func() bool {
			return strings.Contains(m.Log(), "\""+flag+"\"\n")
		})
	}
}

// checkRewrite holds the behaviours that surprise, as Istio's proxies show them.
func checkRewrite(t *testing.T, m *trafficMesh) {
	for in, want := range map[string]string{"/v1/x?q=1": "//x?q=1", "/v1": "/", "/exact?q=1": "/whole?q=1", "/n/42": "/m/42"} {
		if e := m.get("rewrite", in).Echo(); e.Path != want {
			t.Errorf("%s arrives as %q, want %q", in, e.Path, want)
		}
	}
	if e := m.get("rewrite", "/n/1").Echo(); e.Host != "inner" {
		t.Errorf("host %q", e.Host)
	}
	for in, want := range map[string]int{"/y/../x/": 200, "/%78/": 200, "//x/": 404, "/x%2F": 404} {
		if a := m.get("rewrite", in); a.Status != want {
			t.Errorf("%s: %d, want %d", in, a.Status, want)
		}
	}
	if a := m.get("rewrite", "/old/a"); a.Status != 302 || a.Header.Get("location") != "http://new/fresh/a" {
		t.Errorf("%d %s", a.Status, a.Header.Get("location"))
	}
	for cookie, want := range map[string]int{"user=a.b": 201, "x=1; user=a.b; y=2": 201, "user=aXb": 202, "other=user=a.b": 203, "xuser=a.b": 203, "user=a.bc": 202, "": 203} {
		if a := m.get("cookies", "/", "cookie: "+cookie); a.Status != want {
			t.Errorf("cookie %q: %d, want %d", cookie, a.Status, want)
		}
	}
}

func checkUpstreams(t *testing.T, m *trafficMesh) {
	for range 20 {
		if a := m.get("half", "/"); a.Status != 200 {
			t.Fatalf("a dead endpoint is not passed over: %d", a.Status)
		}
	}
	for host, flag := range map[string]string{"gone": "cluster_not_found", "nobody": "cluster_not_found"} {
		if a := m.get(host, "/"); a.Status != 503 {
			t.Errorf("%s: %d, want 503 %s", host, a.Status, flag)
		}
	}
	users := map[string]string{}
	for i := range 60 {
		user := fmt.Sprintf("u%d", i%20)
		name := m.get("ring", "/", "x-user: "+user).Echo().Name
		if users[user] != "" && users[user] != name {
			t.Errorf("%s moved from %s to %s", user, users[user], name)
		}
		users[user] = name
	}
	before := m.copies.Requests()
	if a := m.get("mirror", "/"); a.Echo().Name != "v1" {
		t.Errorf("mirrored: %s", a.Body)
	}
	envoytest.Await(t, 5*time.Second, "the copy", func() bool { return m.copies.Requests() > before })
	if a := m.get("h2", "/"); a.Echo().Name != "v2" {
		t.Errorf("HTTP/2 upstream: %d %s", a.Status, a.Body)
	}
}

func checkHeaders(t *testing.T, m *trafficMesh) {
	a := m.get("half", "/", "x-forwarded-for: 1.2.3.4", "x-request-id: mine")
	e := a.Echo()
	if a.Header.Get("server") != "istio-envoy" || a.Header.Get("x-envoy-upstream-service-time") == "" {
		t.Errorf("answer headers %v", a.Header)
	}
	if e.Headers["x-forwarded-for"] != "1.2.3.4" || e.Headers["x-request-id"] != "mine" || e.Headers["x-envoy-attempt-count"] == "" {
		t.Errorf("headers %v", e.Headers)
	}
	if id := m.get("half", "/").Echo().Headers["x-request-id"]; len(id) != 36 || id[14] != '9' {
		t.Errorf("x-request-id %q, want one that says: sampled", id)
	}
	c, err := net.Dial("tcp", m.Addr(m.proxy))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.0\r\nhost: half\r\n\r\n")
	if line, _ := bufio.NewReader(c).ReadString('\n'); !strings.Contains(line, "426") {
		t.Errorf("HTTP/1.0 gets %q", line)
	}
}

// checkTunnel uses the listener as an explicit proxy for hosts that the mesh does not know.
func checkTunnel(t *testing.T, m *trafficMesh) {
	if a := m.get(fmt.Sprintf("localhost:%d", m.v2.Port), "/out"); a.Echo().Name != "v2" {
		t.Errorf("unknown host: %d %s", a.Status, a.Body)
	}
	c, err := net.Dial("tcp", m.Addr(m.proxy))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "CONNECT localhost:%d HTTP/1.1\r\nhost: localhost:%d\r\n\r\n", m.v2.Port, m.v2.Port)
	r := bufio.NewReader(c)
	a, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("CONNECT: %v %v", a, err)
	}
	fmt.Fprint(c, "GET /tunnel HTTP/1.1\r\nhost: inside\r\nconnection: close\r\n\r\n")
	inner, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Body.Close()
	if b, _ := io.ReadAll(inner.Body); !strings.Contains(string(b), `"host":"inside"`) {
		t.Errorf("through the tunnel: %s", b)
	}
}

func checkInbound(t *testing.T, m *trafficMesh) {
	r := envoytest.NewRequest(t, "GET", "http://"+m.Addr(m.inbound)+"/in", "", "host: app:9080")
	for name, a := range map[string]*envoytest.Answer{"HTTP/1.1": m.Do(t, r), "h2c": m.DoHTTP2(t, r)} {
		if e := a.Echo(); e.Name != "v1" || e.Host != "app:9080" || e.Headers["x-envoy-attempt-count"] != "" {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}
