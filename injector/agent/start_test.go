package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// started is what an Envoy says of its start.
type started struct {
	Options struct {
		Concurrency int
		Drain       string `json:"drain_time"`
		Parent      string `json:"parent_shutdown_time"`
		Flush       string `json:"file_flush_interval"`
	} `json:"command_line_options"`
	Node struct {
		ID, Cluster string
		Metadata    map[string]any
	}
}

// TestProxyConfigActs: the Envoy that an agent starts runs as PROXY_CONFIG says: every field of it that bears on the start. What it says of
// Envoy's configuration, the control plane reads of the pod.
func TestProxyConfigActs(t *testing.T) {
	statsd, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = statsd.Close() })
	admin, status := envoytest.FreePort(t), envoytest.FreePort(t)
	config := fmt.Sprintf(`{"discoveryAddress": "127.0.0.254:15010", "proxyAdminPort": %d, "statusPort": %d, "statsdUdpAddress": %q,
		"concurrency": 3, "drainDuration": "33s", "terminationDrainDuration": "0.1s", "fileFlushInterval": "2s",
		"serviceCluster": "the-shop", "meshId": "mesh-1", "proxyMetadata": {"ISTIO_META_TEAM": "green"}, "runtimeValues": {"mesh.test": "7"},
		"connectionSettings": {"globalDownstreamConnectionLimit": 55}}`, admin, status, statsd.LocalAddr())
	o := options(t, map[string]string{
		"PROXY_CONFIG": config, "INSTANCE_IP": "127.0.0.1", "POD_NAME": "shop-0", "ISTIO_CPU_LIMIT": "1",
		"ENVOY_STATUS_PORT": fmt.Sprint(envoytest.FreePort(t)), "ENVOY_PROMETHEUS_PORT": fmt.Sprint(envoytest.FreePort(t)),
	}, nil)
	o.Paths.Envoy, o.Paths.Data, o.EnvoyLevel = envoytest.Find(t), t.TempDir(), "warning"
	ctx, end := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, o) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})

	page := func(path string) string { return pageAt(admin, path) }
	envoytest.Await(t, time.Minute, "Envoy answers on its administration port", func() bool { return strings.HasPrefix(page("/server_info"), "{") })
	var got started
	if err := json.Unmarshal([]byte(page("/server_info")), &got); err != nil {
		t.Fatal(err)
	}
	if f := got.Options; f.Concurrency != 3 || f.Drain != "33s" || f.Parent != "48s" || f.Flush != "2s" {
		t.Errorf("flags %+v", f)
	}
	if n := got.Node; n.Cluster != "the-shop" || n.Metadata["TEAM"] != "green" || n.Metadata["MESH_ID"] != "mesh-1" {
		t.Errorf("node %+v", n)
	}
	if values := page("/runtime"); !strings.Contains(values, `"mesh.test"`) {
		t.Errorf("runtime:\n%s", values)
	}
	if dump := page("/config_dump?mask=bootstrap.overload_manager"); !strings.Contains(dump, `"max_active_downstream_connections": "55"`) {
		t.Errorf("overload manager:\n%s", dump)
	}
	if told := pageAt(status, "/healthz/ready"); !strings.Contains(told, "no clusters yet") {
		t.Errorf("the agent says %q", told)
	}
	if err := statsd.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 1<<16)
	if n, _, err := statsd.ReadFrom(raw); err != nil || !strings.Contains(string(raw[:n]), "|") {
		t.Errorf("statsd got %q, %v", raw[:n], err)
	}
}

// pageAt asks on loopback; "" if nobody answers.
func pageAt(port int, path string) string {
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path)) //nolint:noctx // a test's
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(body)
}
