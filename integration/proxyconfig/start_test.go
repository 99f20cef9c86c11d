package proxyconfig

import (
	"encoding/json"
	"strings"
	"testing"
)

// serverInfo is what an Envoy says of its start.
type serverInfo struct {
	CommandLineOptions struct{ Concurrency int } `json:"command_line_options"`
	Node               struct {
		Cluster  string
		Metadata map[string]any
	}
}

// An Envoy is started as the annotation of its pod and the kind ProxyConfig say.
func TestStart(t *testing.T) {
	m := shared.Mesh(t)
	for workload, want := range map[string]struct {
		workers       int
		cluster, team string
	}{"shop-0": {3, "the-shop", "green"}, "client-0": {2, "client.default", "red"}} {
		var got serverInfo
		if err := json.Unmarshal(m.Admin(t, workload, "/server_info"), &got); err != nil {
			t.Fatal(err)
		}
		if got.CommandLineOptions.Concurrency != want.workers || got.Node.Cluster != want.cluster || got.Node.Metadata["TEAM"] != want.team {
			t.Errorf("%s: %+v, want %+v", workload, got, want)
		}
	}
	if values := string(m.Admin(t, "shop-0", "/runtime")); !strings.Contains(values, `"mesh.test"`) {
		t.Errorf("runtime:\n%s", values)
	}
	if a := m.From(t, "client-0").Must(t, "http://shop:9080/"); a.Code != 200 { // it was held, and runs
		t.Errorf("the shop answers %d", a.Code)
	}
}

// Sidecars prove to the control plane who they are.
func TestControlPlaneTLS(t *testing.T) {
	m := shared.Mesh(t)
	for _, w := range []string{"shop-0", "client-0"} {
		if n := m.Stat(t, w, `^cluster\.xds-grpc;\.ssl\.handshake$`); n == 0 {
			t.Errorf("%s talks to the control plane in plaintext", w)
		}
	}
}
