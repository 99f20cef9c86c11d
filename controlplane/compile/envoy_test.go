package compile_test

import (
	"fmt"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestEnvoyAcceptsCorpus: a real Envoy accepts what every view of every case becomes, without a warning.
func TestEnvoyAcceptsCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts an Envoy for each view of the corpus")
	}
	envoytest.Find(t)
	module := envoytest.Module(t)
	for _, c := range golden.Load(t, corpus) {
		t.Run(c.Name, func(t *testing.T) {
			set, _ := inputs(c)
			for name, v := range run(t, c, set).Views {
				out, err := envoytest.Validate(t, static(t, v), module)
				if err != nil || strings.Contains(out, "[warning]") {
					t.Errorf("%s: %v\n%s", name, err, out)
				}
			}
		})
	}
}

// static is a bootstrap without a control plane: tables inside the listeners, endpoints inside the clusters.
func static(t *testing.T, v *mesh.View) string {
	t.Helper()
	res, err := xdsgen.Build(v)
	if err != nil {
		t.Fatal(err)
	}
	endpoints, tables := map[string]*anypb.Any{}, map[string]*anypb.Any{}
	for _, r := range res.Endpoints {
		endpoints[r.Name] = r.Body
	}
	for _, r := range res.InlineRoutes {
		tables[r.Name] = r.Body
	}
	boot := &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{}}
	for _, r := range res.Clusters {
		c := into(t, r.Body, &clusterv3.Cluster{})
		if c.GetType() == clusterv3.Cluster_EDS {
			c.EdsClusterConfig, c.ClusterDiscoveryType = nil, &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
			c.LoadAssignment = into(t, endpoints[c.Name], &endpointv3.ClusterLoadAssignment{})
		}
		boot.StaticResources.Clusters = append(boot.StaticResources.Clusters, c)
	}
	for _, r := range res.Listeners {
		l := into(t, r.Body, &listenerv3.Listener{})
		for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
			for _, f := range chain.GetFilters() {
				inlineTable(t, f, tables)
			}
		}
		boot.StaticResources.Listeners = append(boot.StaticResources.Listeners, l)
	}
	raw, err := protojson.Marshal(boot)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func inlineTable(t *testing.T, f *listenerv3.Filter, tables map[string]*anypb.Any) {
	t.Helper()
	m := &hcmv3.HttpConnectionManager{}
	if !f.GetTypedConfig().MessageIs(m) {
		return
	}
	into(t, f.GetTypedConfig(), m)
	name := m.GetRds().GetRouteConfigName()
	m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: into(t, tables[name], &routev3.RouteConfiguration{})}
	packed, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: packed}
}

func into[M proto.Message](t *testing.T, body *anypb.Any, m M) M {
	t.Helper()
	if body == nil {
		t.Fatal(fmt.Errorf("no resource for a %T that is named", m))
	}
	if err := body.UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	return m
}
