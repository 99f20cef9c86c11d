package server

import (
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

func metadata(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestParseNode(t *testing.T) {
	for _, x := range []struct {
		name, id string
		md       map[string]any
		want     mesh.Node
	}{
		{"nothing", "", nil, mesh.Node{Namespace: "default", Domain: "default.svc.cluster.local", Labels: map[string]string{}, Intercepts: true}},
		{"any id", "my-envoy", nil, mesh.Node{ID: "my-envoy", Name: "my-envoy", Namespace: "default", Domain: "default.svc.cluster.local", Labels: map[string]string{}, Intercepts: true}},
		{"Istio's sidecar", "sidecar~10.0.0.1~a.b-7.shop~shop.svc.cluster.local", map[string]any{"LABELS": map[string]any{"app": "a", "version": 2}},
			mesh.Node{ID: "sidecar~10.0.0.1~a.b-7.shop~shop.svc.cluster.local", IP: "10.0.0.1", Name: "a.b-7", Namespace: "shop",
				Domain: "shop.svc.cluster.local", Labels: map[string]string{"app": "a", "version": "2"}, Intercepts: true}},
		{"ours", "sidecar~127.1.0.7~r.default~default.svc.cluster.local", map[string]any{
			"NAME": "r-0", "NAMESPACE": "other", "INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": "15001", "MIZZEN_APP_ADDRESS": "127.2.0.7",
			"MIZZEN_FILTERS": "dynamic-module", "LABELS": `{"app":"r"}`},
			mesh.Node{ID: "sidecar~127.1.0.7~r.default~default.svc.cluster.local", IP: "127.1.0.7", Name: "r-0", Namespace: "other",
				Domain: "default.svc.cluster.local", Labels: map[string]string{"app": "r"}, HTTPProxyPort: 15001, AppAddress: "127.2.0.7", Module: true}},
		{"wasm", "x", map[string]any{"MIZZEN_FILTERS": "wasm"}, mesh.Node{ID: "x", Name: "x", Namespace: "default",
			Domain: "default.svc.cluster.local", Labels: map[string]string{}, Intercepts: true, Wasm: mesh.DefaultWasm}},
		{"golang", "x", map[string]any{"MIZZEN_FILTERS": "golang", "MIZZEN_GOLANG": "/opt/x.so", "MIZZEN_WASM": "/opt/x.wasm"}, mesh.Node{ID: "x", Name: "x", Namespace: "default",
			Domain: "default.svc.cluster.local", Labels: map[string]string{}, Intercepts: true, Golang: "/opt/x.so"}},
		{"gateway", "router~127.1.0.1~gw.istio-system~istio-system.svc.cluster.local", map[string]any{
			"MIZZEN_PORTS": map[string]any{"80": 8080, "bad": 1, "443": "x"}, "MIZZEN_BIND_ADDRESS": "127.0.0.1",
			"POD_PORTS": `[{"name":"web","containerPort":8080},{"containerPort":1},{"name":"web","containerPort":2},{"name":"none"}]`},
			mesh.Node{ID: "router~127.1.0.1~gw.istio-system~istio-system.svc.cluster.local", Gateway: true, IP: "127.1.0.1", Name: "gw",
				Namespace: "istio-system", Domain: "istio-system.svc.cluster.local", Labels: map[string]string{}, Intercepts: true,
				Ports: map[uint32]uint32{80: 8080}, PodPorts: map[string]uint32{"web": 8080}, BindAddress: "127.0.0.1"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := &corev3.Node{Id: x.id}
			if x.md != nil {
				n.Metadata = metadata(t, x.md)
			}
			got := ParseNode(n)
			for k, v := range got.Metadata {
				if x.md[k] != v {
					t.Errorf("metadata %s is %q, want %v", k, v, x.md[k])
				}
			}
			got.Metadata = nil
			if d := cmp.Diff(x.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDebounce(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	d := debounce{quiet: 5 * time.Millisecond, max: 50 * time.Millisecond}
	if fire, _ := d.due(at(0)); fire {
		t.Error("fired with nothing to do")
	}
	d.add(at(0))
	if fire, w := d.due(at(4)); fire || w != time.Millisecond {
		t.Errorf("at 4 ms: %v %v", fire, w)
	}
	if fire, _ := d.due(at(5)); !fire {
		t.Error("did not fire after 5 quiet ms")
	}
	for ms := 10; ms < 60; ms += 4 {
		d.add(at(ms))
		if fire, _ := d.due(at(ms)); fire {
			t.Fatalf("fired at %d ms without quiet", ms)
		}
	}
	if fire, _ := d.due(at(60)); !fire {
		t.Error("did not fire 50 ms after the first change")
	}
}
