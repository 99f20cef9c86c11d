package xdsgen

import (
	"encoding/json"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// static turns what a view gives into a bootstrap without a control plane: route tables inside the listeners,
// clusters and endpoints in place.
func static(t *testing.T, v *mesh.View) string {
	t.Helper()
	res := build(t, v)
	boot := &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{}}
	eds := map[string]*mesh.EndpointGroup{}
	for _, g := range v.Endpoints {
		eds[g.Cluster] = g
	}
	for _, r := range res.Clusters {
		c := unpack(t, r, &clusterv3.Cluster{})
		if c.GetType() == clusterv3.Cluster_EDS {
			c.EdsClusterConfig, c.ClusterDiscoveryType = nil, &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
			if g := eds[c.Name]; g != nil {
				c.LoadAssignment = loadAssignment(c.Name, g.Endpoints, g.Places, g.Named)
			}
		}
		boot.StaticResources.Clusters = append(boot.StaticResources.Clusters, c)
	}
	for _, r := range res.Listeners {
		l := unpack(t, r, &listenerv3.Listener{})
		for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
			inlineRoutes(t, res, chain)
		}
		boot.StaticResources.Listeners = append(boot.StaticResources.Listeners, l)
	}
	raw, err := protojson.Marshal(boot)
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(raw) {
		t.Fatal("invalid JSON")
	}
	return string(raw)
}

func inlineRoutes(t *testing.T, res *Resources, chain *listenerv3.FilterChain) {
	t.Helper()
	for _, f := range chain.GetFilters() {
		m := &hcmv3.HttpConnectionManager{}
		if f.GetTypedConfig().UnmarshalTo(m) != nil {
			continue
		}
		table := named(res.InlineRoutes, m.GetRds().GetRouteConfigName())
		if table == nil {
			t.Fatalf("no table %q", m.GetRds().GetRouteConfigName())
		}
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: unpack(t, table, &routev3.RouteConfiguration{})}
		f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(m)}
	}
}

func named(list []*Resource, name string) *Resource {
	for _, r := range list {
		if r.Name == name {
			return r
		}
	}
	return nil
}

func unpack[M proto.Message](t *testing.T, r *Resource, m M) M {
	t.Helper()
	if r == nil {
		t.Fatalf("no resource for %T", m)
	}
	if err := r.Body.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEnvoyAccepts has a real Envoy check everything that a sidecar and a gateway can be given, and expects not even a
// warning: a deprecated field would print one for every cluster and route of every push.
func TestEnvoyAccepts(t *testing.T) {
	for name, v := range map[string]*mesh.View{"sidecar": sidecarView(), "gateway": gatewayView()} {
		t.Run(name, func(t *testing.T) { accepted(t, v, "") })
		v.Node.Module = false
		t.Run(name+" without module", func(t *testing.T) { accepted(t, v, "-") })
	}
}

func accepted(t *testing.T, v *mesh.View, module string) {
	t.Helper()
	out, err := envoytest.Validate(t, static(t, v), module)
	if err != nil {
		t.Fatalf("Envoy refuses it: %v\n%s", err, out)
	}
	if strings.Contains(out, "[warning]") {
		t.Errorf("Envoy warns:\n%s", out)
	}
}

func build(t testing.TB, v *mesh.View) *Resources {
	t.Helper()
	res, err := Build(v)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
