package effective

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1beta1"
	typeapi "istio.io/api/type/v1beta1"
)

func workers(n int32) *networking.ProxyConfig {
	return &networking.ProxyConfig{Concurrency: wrapperspb.Int32(n)}
}

func selecting(spec *networking.ProxyConfig, app string) *networking.ProxyConfig {
	spec.Selector = &typeapi.WorkloadSelector{MatchLabels: map[string]string{"app": app}}
	return spec
}

// TestLayers: what stands later wins, and nothing else is lost.
func TestLayers(t *testing.T) {
	mesh := &meshconfig.ProxyConfig{
		Concurrency: wrapperspb.Int32(1), StatusPort: 15021, ProxyMetadata: map[string]string{"A": "mesh", "B": "mesh"},
		GatewayTopology:                 &meshconfig.Topology{NumTrustedProxies: 2},
		HoldApplicationUntilProxyStarts: wrapperspb.Bool(true),
	}
	kept := proto.Clone(mesh)
	root := Resource{Namespace: "istio-system", Name: "root", Spec: workers(2)}
	namespace := Resource{Namespace: "shop", Name: "all", Spec: workers(3)}
	pod := Resource{Namespace: "shop", Name: "cart", Spec: selecting(workers(5), "cart")}
	annotation := "{concurrency: 4, proxyMetadata: {B: pod}, holdApplicationUntilProxyStarts: false, gatewayTopology: {proxyProtocol: {}}}"
	for _, c := range []struct {
		name string
		all  []Resource
		note string
		want string // JSON
	}{
		{"mesh", nil, "", `{"concurrency":1,"A":"mesh"}`},
		{"root namespace", []Resource{root}, "", `{"concurrency":2}`},
		{"namespace over root", []Resource{root, namespace}, "", `{"concurrency":3}`},
		{"annotation over namespace", []Resource{root, namespace}, annotation, `{"concurrency":4}`},
		{"selector over annotation", []Resource{root, pod, namespace}, annotation, `{"concurrency":5}`},
		{"selector of others", []Resource{{Namespace: "shop", Name: "x", Spec: selecting(workers(9), "x")}}, "", `{"concurrency":1}`},
		{"the oldest, then by name", []Resource{
			{Namespace: "shop", Name: "c", Created: time.Unix(2, 0), Spec: workers(8)},
			{Namespace: "shop", Name: "b", Created: time.Unix(1, 0), Spec: workers(7)},
			{Namespace: "shop", Name: "a", Created: time.Unix(1, 0), Spec: workers(6)},
		}, "", `{"concurrency":6}`},
	} {
		got, err := ProxyConfig(mesh, "istio-system", c.all, Pod{
			Namespace: "shop", Labels: map[string]string{"app": "cart"}, Annotations: map[string]string{Annotation: c.note},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := &meshconfig.ProxyConfig{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(c.want), want); err != nil {
			t.Fatal(err)
		}
		if got.GetConcurrency().GetValue() != want.GetConcurrency().GetValue() || got.GetStatusPort() != 15021 {
			t.Errorf("%s: concurrency %d and status port %d, want %d and the mesh's", c.name, got.GetConcurrency().GetValue(), got.GetStatusPort(), want.GetConcurrency().GetValue())
		}
		if c.note != "" {
			if m := got.GetProxyMetadata(); m["A"] != "mesh" || m["B"] != "pod" {
				t.Errorf("%s: metadata %v", c.name, m)
			}
			if got.GetHoldApplicationUntilProxyStarts().GetValue() || got.GetGatewayTopology().GetNumTrustedProxies() != 2 || got.GetGatewayTopology().GetProxyProtocol() == nil {
				t.Errorf("%s: %v", c.name, got)
			}
		}
	}
	if !proto.Equal(mesh, kept) {
		t.Error("the mesh's own was changed")
	}
}

func TestMistakes(t *testing.T) {
	for _, text := range []string{"{concurency: 1}", "[", "{concurrency: many}"} {
		got, err := ProxyConfig(&meshconfig.ProxyConfig{StatusPort: 1}, "", nil, Pod{Annotations: map[string]string{Annotation: text}})
		if err == nil || !strings.Contains(err.Error(), Annotation) || got.GetStatusPort() != 1 {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func TestMetadata(t *testing.T) {
	m, env := Metadata(&meshconfig.ProxyConfig{ProxyMetadata: map[string]string{"ISTIO_META_TEAM": "blue", "BOOTSTRAP": "x"}})
	if len(m) != 1 || m["TEAM"] != "blue" || strings.Join(env, " ") != "BOOTSTRAP=x ISTIO_META_TEAM=blue" {
		t.Errorf("%v, %v", m, env)
	}
}
