package xdsgen

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// patchView is a sidecar with a workload port, one host outbound and a choice on it.
func patchView(patches ...*mesh.Patch) *mesh.View {
	v := &mesh.View{
		Node: mesh.Node{ID: "sidecar~127.1.0.1~a.default~default.svc.cluster.local", HTTPProxyPort: 15001, Module: true},
		Listeners: []*mesh.Listener{
			{Name: "127.1.0.1_15001", Kind: mesh.ListenHTTPProxy, Address: "127.1.0.1", Port: 15001, Table: proxyTable},
			{Name: "127.1.0.1_9080", Kind: mesh.ListenInbound, Address: "127.1.0.1", Port: 9080, Table: "inbound|9080||", Inbound: []*mesh.Inbound{
				{Port: 9080, Protocol: mesh.HTTP, Cluster: "inbound|9080||", Table: "inbound|9080||"}}},
		},
		Tables: []*mesh.RouteTable{
			{Name: proxyTable, Proxy: true, VirtualHosts: []*mesh.VirtualHost{canaryHost()}, CatchAll: catchAll(mesh.BlackHoleCluster)},
			{Name: "inbound|9080||", Inbound: true, CatchAll: &mesh.VirtualHost{Name: "inbound|http|9080", Domains: []string{"*"}, Routes: []*mesh.BoundRoute{
				{Name: "default", Route: &mesh.Route{}, Clusters: []*mesh.WeightedCluster{{Cluster: "inbound|9080||"}}}}}},
		},
		Endpoints: []*mesh.EndpointGroup{{Cluster: reviewsV1}, {Cluster: reviewsV2}},
		Patches:   patches,
	}
	for _, name := range []string{reviewsV1, reviewsV2} {
		v.Clusters = append(v.Clusters, &mesh.Cluster{Name: name, Kind: mesh.ClusterEDS, Protocol: mesh.HTTP})
	}
	v.Clusters = append(v.Clusters, &mesh.Cluster{Name: "inbound|9080||", Kind: mesh.ClusterStatic, Inbound: true, Protocol: mesh.HTTP,
		Hosts: []*mesh.Endpoint{{Address: "127.2.0.1", Port: 9080, Ready: true}}})
	return v
}

// outline names what of resources the cases look at.
func outline(t *testing.T, r *Resources) string {
	t.Helper()
	var b strings.Builder
	for _, c := range r.Clusters {
		m := bodyOf(t, c, &clusterv3.Cluster{})
		fmt.Fprintf(&b, "cluster %s %s\n", c.Name, m.GetConnectTimeout().AsDuration())
	}
	for _, l := range r.Listeners {
		m := bodyOf(t, l, &listenerv3.Listener{})
		fmt.Fprintf(&b, "listener %s", l.Name)
		for _, f := range m.GetListenerFilters() {
			fmt.Fprintf(&b, " (%s)", f.GetName())
		}
		for _, c := range m.GetFilterChains() {
			b.WriteString(" chain" + c.GetName())
			for _, f := range c.GetFilters() {
				b.WriteString(" " + f.GetName()[strings.LastIndexByte(f.GetName(), '.')+1:])
				h := &hcmv3.HttpConnectionManager{}
				if f.GetTypedConfig().MessageIs(h) && f.GetTypedConfig().UnmarshalTo(h) == nil {
					for _, hf := range h.GetHttpFilters() {
						b.WriteString(" [" + hf.GetName()[strings.LastIndexByte(hf.GetName(), '.')+1:] + "]")
					}
				}
			}
		}
		b.WriteString("\n")
	}
	for _, r := range r.Routes {
		m := bodyOf(t, r, &routev3.RouteConfiguration{})
		fmt.Fprintf(&b, "table %s %v\n", r.Name, m.GetMaxDirectResponseBodySizeBytes().GetValue())
		for _, h := range m.GetVirtualHosts() {
			b.WriteString(hostOutline(h))
		}
	}
	for _, r := range r.VirtualHosts {
		b.WriteString(hostOutline(bodyOf(t, r, &routev3.VirtualHost{})))
	}
	return b.String()
}

func hostOutline(h *routev3.VirtualHost) string {
	var routes []string
	for _, r := range h.GetRoutes() {
		routes = append(routes, fmt.Sprintf("%s:%s", r.GetName(), r.GetRoute().GetTimeout().AsDuration()))
	}
	return fmt.Sprintf("host %s %s %v\n", h.GetName(), routes, h.GetIncludeRequestAttemptCount())
}

func bodyOf[M proto.Message](t *testing.T, r *Resource, m M) M {
	t.Helper()
	if err := r.Body.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPatches: what each kind of patch changes, line by line of the outline, and nothing else.
func TestPatches(t *testing.T) {
	const hcm = "envoy.filters.network.http_connection_manager"
	lua := `{"name":"lua","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"}}`
	http := func(op, context, value string, m *mesh.ListenerMatch) *mesh.Patch {
		return &mesh.Patch{ApplyTo: "HTTP_FILTER", Operation: op, Context: context, Value: value, Listener: m}
	}
	before := outline(t, built(t, patchView()))
	for name, c := range map[string]struct {
		patches []*mesh.Patch
		want    string // lines: -old, +new
	}{
		"cluster": {[]*mesh.Patch{{ApplyTo: "CLUSTER", Operation: "MERGE", Context: "SIDECAR_OUTBOUND", Value: `{"connect_timeout":"3s","name":"other"}`,
			Cluster: &mesh.ClusterMatch{Subset: "v1", Port: 9080, Service: "reviews.default.svc.cluster.local"}}},
			"-cluster outbound|9080|v1|reviews.default.svc.cluster.local 10s\n+cluster outbound|9080|v1|reviews.default.svc.cluster.local 3s\n"},
		"cluster by name, added, removed": {[]*mesh.Patch{
			{ApplyTo: "CLUSTER", Operation: "ADD", Value: `{"name":"more","connect_timeout":"1s"}`},
			{ApplyTo: "CLUSTER", Operation: "ADD", Value: `{"name":"more"}`},
			{ApplyTo: "CLUSTER", Operation: "REMOVE", Cluster: &mesh.ClusterMatch{Name: reviewsV2}}},
			"-cluster outbound|9080|v2|reviews.default.svc.cluster.local 10s\n+cluster more 1s\n"},
		"filter before another, inbound": {[]*mesh.Patch{http("INSERT_BEFORE", "SIDECAR_INBOUND", lua,
			&mesh.ListenerMatch{Name: "virtualInbound", Port: 9080, Filter: hcm, SubFilter: "envoy.filters.http.router"})},
			"-listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [cors] [router]\n+listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [cors] [lua] [router]\n"},
		"filters of another port": {[]*mesh.Patch{http("INSERT_BEFORE", "SIDECAR_INBOUND", lua, &mesh.ListenerMatch{Port: 9081})}, ""},
		"filter added, removed, first and last": {[]*mesh.Patch{
			http("ADD", "SIDECAR_OUTBOUND", lua, nil), http("REMOVE", "SIDECAR_OUTBOUND", "", &mesh.ListenerMatch{SubFilter: "envoy.filters.http.cors"}),
			http("INSERT_FIRST", "SIDECAR_OUTBOUND", strings.Replace(lua, `"lua"`, `"one"`, 1), nil),
			http("INSERT_AFTER", "SIDECAR_OUTBOUND", strings.Replace(lua, `"lua"`, `"two"`, 1), &mesh.ListenerMatch{SubFilter: "one"})},
			"-listener 127.1.0.1_15001 chain http_connection_manager [mizzen] [cors] [router]\n+listener 127.1.0.1_15001 chain http_connection_manager [one] [two] [mizzen] [lua] [router]\n"},
		"extension": {[]*mesh.Patch{
			{ApplyTo: "EXTENSION_CONFIG", Operation: "ADD", Value: lua},
			http("REPLACE", "SIDECAR_INBOUND", `{"name":"lua","config_discovery":{"config_source":{"ads":{}},"type_urls":["type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"]}}`, &mesh.ListenerMatch{SubFilter: "envoy.filters.http.cors"})},
			"-listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [cors] [router]\n+listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [lua] [router]\n"},
		"network filter, listener filter, chain": {[]*mesh.Patch{
			{ApplyTo: "NETWORK_FILTER", Operation: "INSERT_BEFORE", Context: "SIDECAR_INBOUND", Value: `{"name":"x.rbac"}`, Listener: &mesh.ListenerMatch{Filter: hcm}},
			{ApplyTo: "LISTENER_FILTER", Operation: "INSERT_FIRST", Context: "SIDECAR_INBOUND", Value: `{"name":"tls"}`},
			{ApplyTo: "FILTER_CHAIN", Operation: "MERGE", Context: "SIDECAR_INBOUND", Value: `{"name":"renamed"}`}},
			"-listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [cors] [router]\n+listener 127.1.0.1_9080 (tls) chainrenamed rbac http_connection_manager [mizzen] [cors] [router]\n"},
		"listeners": {[]*mesh.Patch{{ApplyTo: "LISTENER", Operation: "REMOVE", Context: "SIDECAR_INBOUND"}, {ApplyTo: "LISTENER", Operation: "ADD", Value: `{"name":"mine"}`}},
			"-listener 127.1.0.1_9080 chain127.1.0.1_9080 http_connection_manager [mizzen] [cors] [router]\n+listener mine\n"},
		"table": {[]*mesh.Patch{{ApplyTo: "ROUTE_CONFIGURATION", Operation: "MERGE", Context: "SIDECAR_INBOUND", Value: `{"max_direct_response_body_size_bytes":7}`}},
			"-table inbound|9080|| 1048576\n+table inbound|9080|| 7\n"},
		"host": {[]*mesh.Patch{{ApplyTo: "VIRTUAL_HOST", Operation: "MERGE", Context: "SIDECAR_OUTBOUND", Value: `{"include_request_attempt_count":false,"domains":["more"]}`,
			Table: &mesh.TableMatch{Name: "9080", Port: 9080, Domain: "reviews:9080"}}}, ""},
		"host added": {[]*mesh.Patch{{ApplyTo: "VIRTUAL_HOST", Operation: "ADD", Value: `{"name":"mine","domains":["mine"]}`, Table: &mesh.TableMatch{Name: "http_proxy"}}},
			"+host mine [] false\n"},
		"route": {[]*mesh.Patch{{ApplyTo: "HTTP_ROUTE", Operation: "INSERT_FIRST", Context: "SIDECAR_INBOUND", Value: `{"name":"mine"}`},
			{ApplyTo: "HTTP_ROUTE", Operation: "MERGE", Context: "SIDECAR_INBOUND", Value: `{"route":{"timeout":"9s"}}`, Table: &mesh.TableMatch{Port: 9080, Route: "default", Action: "ROUTE"}}},
			"-host inbound|http|9080 [default:0s] false\n+host inbound|http|9080 [mine:0s default:9s] false\n"},
		"route of a host": {[]*mesh.Patch{{ApplyTo: "HTTP_ROUTE", Operation: "REMOVE", Table: &mesh.TableMatch{Host: "reviews.default.svc.cluster.local:9080", Route: "main"}}},
			"-host http_proxy/reviews.default.svc.cluster.local:9080 [main:0s main:0s main:0s] true\n+host http_proxy/reviews.default.svc.cluster.local:9080 [] true\n"},
		"nothing of another gateway": {[]*mesh.Patch{{ApplyTo: "HTTP_ROUTE", Operation: "REMOVE", Table: &mesh.TableMatch{Gateway: "a/b"}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range c.patches {
				p.Origin = mesh.Origin{Kind: "EnvoyFilter", Name: "mine"}
			}
			got := lineDiff(before, outline(t, built(t, patchView(c.patches...))))
			if got != c.want {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}

func built(t *testing.T, v *mesh.View) *Resources {
	t.Helper()
	r, err := Build(v)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// lineDiff lists the lines that only one of two texts has.
func lineDiff(a, b string) string {
	var out strings.Builder
	was, is := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	for _, l := range was {
		if !slices.Contains(is, l) {
			out.WriteString("-" + l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			out.WriteString("+" + l)
		}
	}
	return out.String()
}

// TestPatchOrigins: what a patch made is blamed on it first, and waits for the clusters that patches added.
func TestPatchOrigins(t *testing.T) {
	mine := mesh.Origin{Kind: "EnvoyFilter", Namespace: "default", Name: "mine", File: "f.yaml", Line: 7}
	r := built(t, patchView(
		&mesh.Patch{ApplyTo: "CLUSTER", Operation: "ADD", Value: `{"name":"more-hosts"}`, Origin: mine},
		&mesh.Patch{ApplyTo: "CLUSTER", Operation: "REMOVE", Cluster: &mesh.ClusterMatch{Name: reviewsV2}, Origin: mine},
		&mesh.Patch{ApplyTo: "HTTP_ROUTE", Operation: "MERGE", Context: "SIDECAR_OUTBOUND", Value: `{"route":{"cluster":"more-hosts"}}`, Origin: mine,
			Table: &mesh.TableMatch{Host: "reviews.default.svc.cluster.local:9080"}}))
	for _, h := range r.VirtualHosts {
		if h.Origins[0] != mine || !slices.Contains(h.Clusters, "more-hosts") || slices.Contains(h.Clusters, reviewsV2) {
			t.Errorf("%s: origins %v, clusters %v", h.Name, h.Origins, h.Clusters)
		}
	}
	for _, e := range r.Endpoints {
		if e.Name == reviewsV2 {
			t.Errorf("endpoints of a cluster that was removed")
		}
	}
	for _, l := range r.Listeners {
		if slices.Contains(l.Origins, mine) {
			t.Errorf("%s is blamed on a patch that is not about it", l.Name)
		}
	}
}

// TestMerge: an Any of one type is merged inside, false can be written, lists are joined or replaced.
func TestMerge(t *testing.T) {
	hcmOf := func(inner string) string {
		return `{"name":"h","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",` + inner + `}}`
	}
	for _, c := range []struct{ op, dst, src, want string }{
		{"MERGE", hcmOf(`"stat_prefix":"a","normalize_path":true,"stream_idle_timeout":"5s"`), hcmOf(`"normalize_path":false,"stream_idle_timeout":"0.5s"`),
			hcmOf(`"stat_prefix":"a","normalize_path":false,"stream_idle_timeout":"0.5s"`)},
		{"MERGE", hcmOf(`"upgrade_configs":[{"upgrade_type":"a"}]`), hcmOf(`"upgrade_configs":[{"upgrade_type":"b"}]`), hcmOf(`"upgrade_configs":[{"upgrade_type":"a"},{"upgrade_type":"b"}]`)},
		{"MERGE_AND_REPLACE_LIST", hcmOf(`"upgrade_configs":[{"upgrade_type":"a"}]`), hcmOf(`"upgrade_configs":[{"upgrade_type":"b"}]`), hcmOf(`"upgrade_configs":[{"upgrade_type":"b"}]`)},
		{"MERGE", hcmOf(`"stat_prefix":"a"`), `{"typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}`,
			`{"name":"h","typed_config":{"@type":"type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}`},
	} {
		dst, src, want := &listenerv3.Filter{}, &listenerv3.Filter{}, &listenerv3.Filter{}
		for m, text := range map[*listenerv3.Filter]string{dst: c.dst, src: c.src, want: c.want} {
			if err := protojson.Unmarshal([]byte(text), m); err != nil {
				t.Fatal(err)
			}
		}
		mergeInto(dst, src, c.op)
		got, _ := protojson.Marshal(dst)
		wanted, _ := protojson.Marshal(want)
		if string(got) != string(wanted) && !proto.Equal(dst, want) {
			t.Errorf("got %s\nwant %s", got, wanted)
		}
	}
}

// TestPatchByGatewayPort: a patch names a table of a gateway by the Gateways' ports, wherever these are bound.
func TestPatchByGatewayPort(t *testing.T) {
	p := &patcher{view: &mesh.View{Node: mesh.Node{Gateway: true}, Tables: []*mesh.RouteTable{
		{Name: "http.8080", Gateway: true, Servers: []uint32{80, 81}}, {Name: "http.82", Gateway: true},
	}}}
	for _, x := range []struct {
		port  uint32
		table string
		want  bool
	}{{80, "http.8080", true}, {81, "http.8080", true}, {8080, "http.8080", false}, {82, "http.82", true}, {80, "http.82", false}} {
		if got := p.portMatches(&mesh.Patch{Table: &mesh.TableMatch{Port: x.port}}, "", x.table); got != x.want {
			t.Errorf("port %d in %s: %t", x.port, x.table, got)
		}
	}
}
