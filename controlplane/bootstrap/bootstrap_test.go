package bootstrap

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func sidecar() Options {
	return Options{
		NodeID: "sidecar~127.1.0.7~reviews-v1-0.default~default.svc.cluster.local",
		Metadata: map[string]any{
			"NAMESPACE": "default", "LABELS": map[string]string{"app": "reviews"}, "INTERCEPTION_MODE": "NONE",
			"HTTP_PROXY_PORT": 15001, "MIZZEN_PORTS": map[string]uint32{"80": 8080},
		},
		Locality: "r/z", XDSAddress: "127.0.0.1:15010", AdminAddress: "127.1.0.7", AdminPort: 15000,
	}
}

func parsed(t *testing.T, o Options) *bootstrapv3.Bootstrap {
	t.Helper()
	raw, err := Config(o)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Config(o)
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("two calls differ: %v", err)
	}
	out := &bootstrapv3.Bootstrap{}
	if err := protojson.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConfig(t *testing.T) {
	b := parsed(t, sidecar())
	if b.Node.Id != sidecar().NodeID || b.Node.Cluster != "default" || b.Node.Locality.Zone != "z" {
		t.Errorf("node %v", b.Node)
	}
	m := b.Node.Metadata.Fields
	if m["LABELS"].GetStructValue().Fields["app"].GetStringValue() != "reviews" || m["HTTP_PROXY_PORT"].GetNumberValue() != 15001 ||
		m["MIZZEN_PORTS"].GetStructValue().Fields["80"].GetNumberValue() != 8080 {
		t.Errorf("metadata %v", m)
	}
	ads := b.DynamicResources.AdsConfig
	retry := ads.GrpcServices[0].GetEnvoyGrpc().RetryPolicy.RetryBackOff
	if ads.ApiType != corev3.ApiConfigSource_DELTA_GRPC || retry.BaseInterval.AsDuration() != reconnectFirst || retry.MaxInterval.AsDuration() != reconnectMax {
		t.Errorf("ads %v", ads)
	}
	if a := b.Admin.Address.GetSocketAddress(); a.Address != "127.1.0.7" || a.GetPortValue() != 15000 {
		t.Errorf("admin %v", a)
	}
	x := b.StaticResources.Clusters[0]
	if x.Name != XDSCluster || x.GetType() != clusterv3.Cluster_STATIC {
		t.Errorf("control plane %v", x)
	}
}

func TestVariants(t *testing.T) {
	o := sidecar()
	o.StateOfTheWorld, o.XDSAddress, o.Cluster, o.AdminAddress = true, "istiod.istio-system.svc:15010", "reviews.default", ""
	b := parsed(t, o)
	if b.DynamicResources.AdsConfig.ApiType != corev3.ApiConfigSource_GRPC || b.StaticResources.Clusters[0].GetType() != clusterv3.Cluster_STRICT_DNS ||
		b.Node.Cluster != "reviews.default" || b.Admin.Address.GetSocketAddress().Address != "127.0.0.1" {
		t.Errorf("got %v", b)
	}
	if got := clusterOf("odd"); got != "odd" {
		t.Errorf("cluster of an id in another form: %q", got)
	}
	if got := strings.Join(Args(0), " "); got != "--disable-hot-restart --concurrency 1" {
		t.Errorf("args %q", got)
	}
}

func TestMistakes(t *testing.T) {
	for name, change := range map[string]func(*Options){ // by what the error must name
		"no node id":     func(o *Options) { o.NodeID = "" },
		"no SDS socket":  func(o *Options) { o.XDSServerName = "localhost" },
		"want host:port": func(o *Options) { o.XDSAddress = "127.0.0.1:0" },
		"missing port":   func(o *Options) { o.XDSAddress = "127.0.0.1" },
		"node metadata":  func(o *Options) { o.Metadata["X"] = func() {} },
		"PortValue":      func(o *Options) { o.AdminPort = 70000 },
		"Regex":          func(o *Options) { o.StatsTags = []StatsTag{{"x", "(" + strings.Repeat("a", 2000)}} },
	} {
		o := sidecar()
		change(&o)
		if _, err := Config(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error about %s", err, name)
		}
	}
}

// TestStatsTags takes the labels out of names that Envoy makes of xdsgen's.
func TestStatsTags(t *testing.T) {
	for in, want := range map[string][2]string{
		"cluster.outbound|9080|v1|reviews.default.svc.cluster.local;.upstream_rq_total": {"cluster_name", "outbound|9080|v1|reviews.default.svc.cluster.local"},
		"cluster.xds-grpc;.upstream_cx_total":                                           {"cluster_name", "xds-grpc"},
		"http.outbound_0.0.0.0_9080;.downstream_rq_total":                               {"http_conn_manager_prefix", "outbound_0.0.0.0_9080"},
		"http.inbound_127.1.0.1_9080;.rbac.denied":                                      {"authz_enforce_result", "denied"},
		"http.inbound_127.1.0.1_9080;.rbac.istio_dry_run_deny_.shadow_denied":           {"authz_dry_run_action", "deny"},
		"http.inbound_127.1.0.1_9080;.rbac.istio_dry_run_allow_.shadow_allowed":         {"authz_dry_run_result", "allowed"},
		"tcp.outbound|6379||redis.default.svc.cluster.local.downstream_cx_total":        {"tcp_prefix", "outbound|6379||redis.default.svc.cluster.local"},
	} {
		var got string
		for _, tag := range defaultTags {
			if tag.Regex == "" {
				continue
			}
			if g := regexp.MustCompile(tag.Regex).FindStringSubmatch(in); tag.Name == want[0] && g != nil {
				got = g[len(g)-1]
			}
		}
		if got != want[1] {
			t.Errorf("%s of %s: %q, want %q", want[0], in, got, want[1])
		}
	}
}

// TestEnvoyAccepts: and without a warning, which every proxy of a mesh would repeat at its start.
func TestEnvoyAccepts(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		o := sidecar()
		o.StateOfTheWorld = sotw
		if sotw {
			o.SDSSocket, o.XDSServerName = "/tmp/agent.sock", "localhost"
			o.Runtime, o.Statsd, o.MaxConnections = map[string]string{"envoy.test": "true", "n": "7"}, "127.0.0.1:8125", 1000
		}
		raw, err := Config(o)
		if err != nil {
			t.Fatal(err)
		}
		if !json.Valid(raw) {
			t.Error("invalid JSON")
		}
		out, err := envoytest.Validate(t, string(raw), "-")
		if err != nil || strings.Contains(out, "[warning]") {
			t.Errorf("Envoy says %v:\n%s", err, out)
		}
	}
}
