package agent

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
)

// options of an agent whose pod has these variables and files.
func options(t *testing.T, vars map[string]string, files map[string]string) Options {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Options{
		Getenv: func(name string) string { return vars[name] },
		Environ: func() []string {
			var out []string
			for k, v := range vars {
				out = append(out, k+"="+v)
			}
			return out
		},
		Addresses: interfaces("127.0.0.1", "10.1.2.3", "::1", "fe80::1"),
		Paths:     Paths{PodInfo: dir, Config: dir, Module: dir}, Log: slog.New(slog.DiscardHandler),
	}
}

func interfaces(all ...string) func() ([]netip.Addr, error) {
	return func() (out []netip.Addr, err error) {
		for _, a := range all {
			out = append(out, netip.MustParseAddr(a))
		}
		return out, nil
	}
}

// A pod's addresses are those that the cluster says, then what else its interfaces have that others can reach.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		said string
		has  []string
		want string
	}{
		{"10.1.2.3", []string{"127.0.0.1", "10.1.2.3", "fe80::1"}, "10.1.2.3"},
		{"10.1.2.3", []string{"10.1.2.3", "fd00::3"}, "10.1.2.3,fd00::3"},
		{"fd00::3,10.1.2.3", []string{"10.1.2.3", "fd00::3", "::1"}, "fd00::3,10.1.2.3"},
		{"", []string{"::1", "fd00::3"}, "fd00::3"},
		{"", []string{"::1"}, ""},
		{"here", nil, ""},
	} {
		got, err := addresses(c.said, interfaces(c.has...))
		if strings.Join(texts(got), ",") != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q with %q: %v, %v; want %s", c.said, c.has, got, err, c.want)
		}
	}
}

// TestInjected: what the injector writes comes to what Envoy is told of its pod.
func TestInjected(t *testing.T) {
	o := options(t, map[string]string{
		"POD_NAME": "reviews-v1-7", "POD_NAMESPACE": "shop", "INSTANCE_IP": "10.1.2.3", "SERVICE_ACCOUNT": "reviews", "HOST_IP": "10.1.0.1", "ISTIO_CPU_LIMIT": "2",
		"PROXY_CONFIG":              `{"discoveryAddress":"mizzen-controlplane.istio-system.svc:15012","terminationDrainDuration":"7s","proxyMetadata":{"ISTIO_META_TEAM":"blue"},"fromTheFuture":1}`,
		"ISTIO_META_WORKLOAD_NAME":  "reviews-v1",
		"ISTIO_META_CLUSTER_ID":     "east",
		"ISTIO_METAJSON_METRICS":    `{"a": 1}`,
		"ISTIO_META_MIZZEN_FILTERS": "dynamic-module",
		"ISTIO_KUBE_APP_PROBERS":    `{"/app-health/reviews/readyz":{"httpGet":{"path":"/up","port":9080,"scheme":"HTTP"},"timeoutSeconds":3}}`,
	}, map[string]string{"labels": "app=\"reviews\"\nversion=\"v1\"\n", "annotations": `note="two \"words\""`, "libmizzen.so": ""})
	s, err := read(o)
	if err != nil {
		t.Fatal(err)
	}
	if s.node.NodeID != "sidecar~10.1.2.3~reviews-v1-7.shop~shop.svc.cluster.local" || s.node.Cluster != "reviews.shop" {
		t.Errorf("node %s of cluster %s", s.node.NodeID, s.node.Cluster)
	}
	want := map[string]any{
		"NAME": "reviews-v1-7", "NAMESPACE": "shop", "SERVICE_ACCOUNT": "reviews", "INSTANCE_IPS": "10.1.2.3", "NODE_IP": "10.1.0.1", "ISTIO_VERSION": "mizzen",
		"LABELS": map[string]string{"app": "reviews", "version": "v1"}, "ANNOTATIONS": map[string]string{"note": `two "words"`},
		"WORKLOAD_NAME": "reviews-v1", "CLUSTER_ID": "east", "METRICS": map[string]any{"a": 1.0}, "TEAM": "blue",
		"MIZZEN_FILTERS": "dynamic-module", "MIZZEN_SDS": bootstrap.SDSCluster,
	}
	if !reflect.DeepEqual(s.node.Metadata, want) {
		t.Errorf("metadata\n%v, want\n%v", s.node.Metadata, want)
	}
	if !s.secure || s.start.Workers != 2 || s.start.TerminationDrain != 7*time.Second || s.status != 15020 || len(s.probers) != 1 {
		t.Errorf("%+v", s)
	}
}

// TestByHand: a container that nobody injected needs no more than an address of the control plane; on 15010 there is no TLS and no identity.
func TestByHand(t *testing.T) {
	o := options(t, map[string]string{"INSTANCE_IP": "fd00::3", "POD_NAME": "x", "PROXY_CONFIG": "discoveryAddress: controlplane:15010\nconcurrency: 3\nproxyAdminPort: 16000", "ISTIO_METAJSON_LABELS": `{"app":"x"}`}, nil)
	o.Gateway = true
	s, err := read(o)
	if err != nil {
		t.Fatal(err)
	}
	if s.secure || s.node.Metadata["MIZZEN_SDS"] != nil || s.node.Metadata["MIZZEN_FILTERS"] != "native" || s.start.Workers != 3 || s.node.AdminPort != 16000 || !slices.Equal(s.node.Status.Addresses, []string{"fd00::3", "10.1.2.3"}) {
		t.Errorf("%+v", s)
	}
	if s.node.NodeID != "router~fd00::3~x.default~default.svc.cluster.local" {
		t.Error(s.node.NodeID)
	}
	if _, err := bootstrap.Config(s.node); err != nil {
		t.Error(err)
	}
}

// TestPoliciesThatAreThere: a proxy runs the policies by the module that it finds.
func TestPoliciesThatAreThere(t *testing.T) {
	for _, c := range []struct{ name, says, file, host, key string }{
		{"none", "", "", "native", ""},
		{"the dynamic module", "", DynamicModule, "dynamic-module", ""},
		{"wasm", "", WasmModule, "wasm", "MIZZEN_WASM"},
		{"golang", "", GolangLibrary, "golang", "MIZZEN_GOLANG"},
		{"golang, said", "golang", GolangLibrary, "golang", "MIZZEN_GOLANG"},
		{"another said", "native", GolangLibrary, "native", ""},
	} {
		files := map[string]string{}
		if c.file != "" {
			files[c.file] = ""
		}
		o := options(t, map[string]string{"INSTANCE_IP": "10.0.0.1", "ISTIO_META_MIZZEN_FILTERS": c.says}, files)
		s, err := read(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.node.Metadata["MIZZEN_FILTERS"]; got != c.host {
			t.Errorf("%s: %v, want %s", c.name, got, c.host)
		}
		for _, key := range []string{"MIZZEN_WASM", "MIZZEN_GOLANG"} {
			var want any
			if key == c.key {
				want = filepath.Join(o.Paths.Module, c.file)
			}
			if got := s.node.Metadata[key]; got != want {
				t.Errorf("%s: %s is %v, want %v", c.name, key, got, want)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"PROXY_CONFIG", "[", "read PROXY_CONFIG: "},
		{"PROXY_CONFIG", "{discoveryAddress: nowhere}", "read discoveryAddress: "},
		{"INSTANCE_IP", "ten", "read INSTANCE_IP: "},
		{"ISTIO_METAJSON_X", "{", "read ISTIO_METAJSON_X: "},
		{"ISTIO_KUBE_APP_PROBERS", `{"/quitquitquit":{"tcpSocket":{"port":1}}}`, "is not a path such as"},
		{"ISTIO_KUBE_APP_PROBERS", `{"/app-health/a/readyz":{"httpGet":{"port":"http"}}}`, "is not the number of a port"},
		{"ISTIO_KUBE_APP_PROBERS", `{"/app-health/a/readyz":{}}`, "asks nothing"},
		{"ISTIO_PROMETHEUS_ANNOTATIONS", "{", "read ISTIO_PROMETHEUS_ANNOTATIONS: "},
	} {
		vars := map[string]string{"INSTANCE_IP": "10.0.0.1"}
		vars[c.name] = c.value
		if _, err := read(options(t, vars, nil)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.want)
		}
	}
}

// TestScraped: where the application's metrics are.
func TestScraped(t *testing.T) {
	for _, c := range []struct {
		text string
		own  map[string]string
		want *scrape
	}{
		{`{"scrape":"true","path":"stats","port":"9102"}`, nil, &scrape{"true", "/stats", "9102"}},
		{"", map[string]string{"prometheus.io/scrape": "true"}, &scrape{"true", "/metrics", "80"}},
		{"", map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "15020"}, nil},
		{`{"scrape":"false","port":"9102"}`, nil, nil},
		{"", nil, nil},
	} {
		if got, err := scraped(c.text, c.own, 15020); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %v: %v, %v", c.text, c.own, got, err)
		}
	}
}
