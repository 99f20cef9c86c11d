package xdsgen

import (
	"math"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

func cluster(t *testing.T, name string) *clusterv3.Cluster {
	t.Helper()
	return unpack(t, named(build(t, sidecarView()).Clusters, name), &clusterv3.Cluster{})
}

func options(t *testing.T, c *clusterv3.Cluster) *httpv3.HttpProtocolOptions {
	t.Helper()
	a := c.TypedExtensionProtocolOptions[httpOptions]
	if a == nil {
		return nil
	}
	out := &httpv3.HttpProtocolOptions{}
	if err := a.UnmarshalTo(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestClusterDefaults: Istio's, where the user says nothing.
func TestClusterDefaults(t *testing.T) {
	same(t, cluster(t, reviews), `name: "`+reviews+`" alt_stat_name: "`+reviews+`;" type: EDS
		eds_cluster_config { service_name: "`+reviews+`" eds_config { ads {} resource_api_version: V3 initial_fetch_timeout {} } }
		connect_timeout { seconds: 10 } lb_policy: LEAST_REQUEST
		circuit_breakers { thresholds { max_connections { value: 4294967295 } max_pending_requests { value: 4294967295 }
			max_requests { value: 4294967295 } max_retries { value: 4294967295 } } }
		common_lb_config { healthy_panic_threshold {} }
		metadata { filter_metadata { key: "istio" value {
			fields { key: "config" value { string_value: "/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews" } }
			fields { key: "default_original_port" value { number_value: 9080 } }
			fields { key: "services" value { list_value { values { struct_value {
				fields { key: "host" value { string_value: "reviews.default.svc.cluster.local" } }
				fields { key: "name" value { string_value: "reviews" } }
				fields { key: "namespace" value { string_value: "default" } } } } } } } } } }`)
}

func TestClusterEverything(t *testing.T) {
	c := cluster(t, reviewsV1)
	if c.ConnectTimeout.AsDuration() != 3*time.Second || c.Metadata.FilterMetadata["istio"].Fields["subset"].GetStringValue() != "v1" {
		t.Errorf("got %v", c)
	}
	same(t, c.CircuitBreakers, `thresholds { max_connections { value: 1 } max_pending_requests { value: 2 } max_requests { value: 3 } max_retries { value: 5 } }`)
	same(t, c.OutlierDetection, `consecutive_5xx { value: 1 } enforcing_consecutive_5xx { value: 100 }
		consecutive_gateway_failure {} enforcing_consecutive_gateway_failure {} enforcing_success_rate {}
		split_external_local_origin_errors: true consecutive_local_origin_failure { value: 2 }
		enforcing_consecutive_local_origin_failure { value: 100 } enforcing_local_origin_success_rate {}
		interval { seconds: 1 } base_ejection_time { seconds: 180 } max_ejection_percent { value: 100 }`)
	same(t, c.CommonLbConfig, `healthy_panic_threshold { value: 20 }`)
	same(t, c.UpstreamConnectionOptions, `tcp_keepalive { keepalive_probes { value: 3 } keepalive_time { value: 60 } keepalive_interval { value: 1 } }`)
	same(t, c.GetRoundRobinLbConfig(), `slow_start_config { slow_start_window { seconds: 60 } }`)
	same(t, options(t, c), `common_http_protocol_options { idle_timeout { seconds: 30 } max_connection_duration { seconds: 3600 } max_requests_per_connection { value: 4 } }
		explicit_http_config { http2_protocol_options { max_concurrent_streams { value: 7 } } }`)
}

// TestOutlierUnset leaves Envoy's own five consecutive 5xx in force, as Istio does.
func TestOutlierUnset(t *testing.T) {
	out := &clusterv3.Cluster{CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{}}
	setOutlier(out, &mesh.Outlier{})
	same(t, out.OutlierDetection, `enforcing_success_rate {}`)
}

func TestBalancers(t *testing.T) {
	for name, want := range map[string]string{
		"grpc":    `lb_policy: RANDOM`,
		"ring":    `lb_policy: RING_HASH ring_hash_lb_config { minimum_ring_size { value: 1024 } }`,
		"maglev":  `lb_policy: MAGLEV maglev_lb_config { table_size { value: 65537 } }`,
		"least":   `lb_policy: LEAST_REQUEST least_request_lb_config { slow_start_config { slow_start_window { seconds: 1 } } }`,
		"through": `lb_policy: CLUSTER_PROVIDED`,
	} {
		c := cluster(t, name)
		same(t, &clusterv3.Cluster{LbPolicy: c.LbPolicy, LbConfig: c.LbConfig}, want)
	}
}

func TestDiscovery(t *testing.T) {
	for name, want := range map[string]clusterv3.Cluster_DiscoveryType{
		"dns": clusterv3.Cluster_STRICT_DNS, "dnsrr": clusterv3.Cluster_LOGICAL_DNS, "through": clusterv3.Cluster_ORIGINAL_DST,
		"PassthroughCluster": clusterv3.Cluster_ORIGINAL_DST, "BlackHoleCluster": clusterv3.Cluster_STATIC, "inbound|9080||": clusterv3.Cluster_STATIC,
	} {
		if got := cluster(t, name).GetType(); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := cluster(t, "dynamic").GetClusterType().GetName(); got != "envoy.clusters.dynamic_forward_proxy" {
		t.Errorf("dynamic: %q", got)
	}
	if got := cluster(t, "InboundPassthroughCluster").UpstreamBindConfig.SourceAddress.Address; got != "127.0.0.6" {
		t.Errorf("inbound passthrough binds to %q", got)
	}
	app := cluster(t, "inbound|9080||").LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address.GetSocketAddress()
	if app.Address != "127.2.0.1" || app.GetPortValue() != 9080 {
		t.Errorf("the application is sought at %v", app)
	}
}

// TestProtocols: HTTP/2 where the port says so, what came where nobody can know better, else Envoy's HTTP/1.1.
func TestProtocols(t *testing.T) {
	pool := &mesh.ConnectionPool{}
	for name, c := range map[string]struct {
		in   mesh.Cluster
		pool mesh.ConnectionPool
		want speech
	}{
		"http":           {mesh.Cluster{Protocol: mesh.HTTP}, *pool, speakHTTP1},
		"grpc":           {mesh.Cluster{Protocol: mesh.GRPC}, mesh.ConnectionPool{Upgrade: "DO_NOT_UPGRADE"}, speakHTTP2},
		"http2":          {mesh.Cluster{Protocol: mesh.HTTP2}, *pool, speakHTTP2},
		"upgrade":        {mesh.Cluster{Protocol: mesh.HTTP}, mesh.ConnectionPool{Upgrade: "UPGRADE"}, speakHTTP2},
		"client's":       {mesh.Cluster{Protocol: mesh.HTTP}, mesh.ConnectionPool{UseClientProtocol: true}, speakDownstream},
		"inbound":        {mesh.Cluster{Protocol: mesh.HTTP, Inbound: true}, *pool, speakDownstream},
		"inbound grpc":   {mesh.Cluster{Protocol: mesh.GRPC, Inbound: true}, *pool, speakHTTP2},
		"passthrough":    {mesh.Cluster{Kind: mesh.ClusterOriginalDst}, *pool, speakDownstream},
		"upgrade of tcp": {mesh.Cluster{Protocol: mesh.TCP}, mesh.ConnectionPool{Upgrade: "UPGRADE"}, speakHTTP1},
	} {
		if got := speaks(&c.in, &c.pool); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if o := options(t, cluster(t, reviews)); o != nil {
		t.Errorf("plain HTTP needs no options: %v", o)
	}
	if o := options(t, cluster(t, "dynamic")); !o.GetUpstreamHttpProtocolOptions().GetAutoSni() {
		t.Errorf("dynamic: %v", o)
	}
}

func TestConnectTimeout(t *testing.T) {
	for _, c := range []struct{ own, mesh, want time.Duration }{{0, 0, 10 * time.Second}, {0, 2, 2}, {1, 2, 1}} {
		if got := connectTimeout(&mesh.ConnectionPool{ConnectTimeout: c.own}, c.mesh); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
	if got := circuitBreakers(&mesh.ConnectionPool{}, nil).Thresholds[0].MaxRetries.Value; got != math.MaxUint32 {
		t.Errorf("max retries %d", got)
	}
}

func TestEndpoints(t *testing.T) {
	a := unpack(t, named(build(t, sidecarView()).Endpoints, reviews), &endpointv3.ClusterLoadAssignment{})
	same(t, a, `cluster_name: "`+reviews+`"
		endpoints { load_balancing_weight { value: 1 } lb_endpoints { health_status: DRAINING
			endpoint { address { socket_address { address: "10.0.0.3" port_value: 9080 } } } } }
		endpoints { locality { region: "r" zone: "z" sub_zone: "s" } load_balancing_weight { value: 3 } lb_endpoints { load_balancing_weight { value: 3 }
			endpoint { address { socket_address { address: "10.0.0.2" port_value: 9080 } } } } }`)
	if a.Endpoints[0].LbEndpoints[0].HealthStatus != corev3.HealthStatus_DRAINING {
		t.Error("a draining endpoint takes new requests")
	}
	none, err := buildEndpoints(&mesh.EndpointGroup{Cluster: "c"})
	if err != nil || none.Body == nil {
		t.Errorf("no endpoints must still be an answer: %v, %v", none, err)
	}
}

func TestServiceName(t *testing.T) {
	for _, c := range [][3]string{
		{"reviews.default.svc.cluster.local", "default", "reviews"}, {"api.example.com", "default", "api.example.com"},
		{"reviews.other.svc.cluster.local", "default", "reviews.other.svc.cluster.local"},
	} {
		if got := serviceName(c[0], c[1]); got != c[2] {
			t.Errorf("%q: %q", c, got)
		}
	}
}
