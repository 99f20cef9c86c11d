package istio

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestLiveIsDecode: an object of an API server comes to what the same object in a file does, and to the same diagnostics, which name no
// place.
func TestLiveIsDecode(t *testing.T) {
	for _, text := range []string{
		"{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: ns, labels: {x: z}}, spec: {hosts: [a], http: [{timeout: 1s, route: [{destination: {host: a}, weight: 100}]}]}}",
		"{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: ns}, spec: {hosts: [a], http: [{rout: []}]}}",
		"{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, annotations: {sidecar.istio.io/injekt: 'true'}}, spec: {hosts: [a], http: [{retries: {attempts: 3}, route: [{destination: {host: a}}]}]}}",
		"{apiVersion: networking.istio.io/v1alpha3, kind: DestinationRule, metadata: {name: a}, spec: {host: a, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 0.5}}}}}",
		"{apiVersion: config.istio.io/v1alpha2, kind: RouteRule, metadata: {name: r}, spec: {destination: {name: a}, route: [{labels: {version: v1}, weight: 100}]}}",
		"{apiVersion: mizzen.dev/v1alpha1, kind: RateLimit, metadata: {name: l}, spec: {limits: [{requests: 5, per: 1m}]}}",
	} {
		want, wantDiags := Decode("f.yaml", strings.NewReader(text))
		object := map[string]any{}
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		got, gotDiags := DecodeLive(object)
		if len(got.Metas()) != len(want.Metas()) {
			t.Errorf("%s:\n%d objects, want %d: %v", text, len(got.Metas()), len(want.Metas()), gotDiags)
			continue
		}
		for i, m := range got.Metas() {
			if m.Ref != want.Metas()[i].Ref || m.Position != (Position{}) || !sameJSON(t, m.Raw, want.Metas()[i].Raw) {
				t.Errorf("%s:\ngot  %+v\nwant %+v", text, m, want.Metas()[i])
			}
		}
		for i, o := range got.VirtualServices {
			if !proto.Equal(o.Spec, want.VirtualServices[i].Spec) {
				t.Errorf("%s:\ngot  %v\nwant %v", text, o.Spec, want.VirtualServices[i].Spec)
			}
		}
		for i := range wantDiags {
			wantDiags[i].Position = Position{}
		}
		wantDiags.Sort()
		if g, w := show(gotDiags), show(wantDiags); g != w {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", text, g, w)
		}
	}
}

func show(ds Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(d.String() + "\n")
	}
	return b.String()
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Fatal(err)
	}
	p, _ := json.Marshal(x)
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

// TestLiveObject: a Kubernetes object becomes part of the set as it is, with what is wrong with its annotations.
func TestLiveObject(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Annotations: map[string]string{"sidecar.istio.io/injekt": "true"}}}
	set, diags := LiveObject(pod)
	if len(set.Pods) != 1 || set.Pods[0].Spec != pod || set.Pods[0].Ref != (Ref{"Pod", "n", "p"}) {
		t.Fatalf("got %+v", set.Pods)
	}
	if len(diags) != 1 || diags[0].Code != CodeUnknownNote || diags[0].Fix != "did you mean sidecar.istio.io/inject?" {
		t.Errorf("diagnostics: %v", diags)
	}
	pod.Status.PodIP = "1.2.3"
	if set, diags := LiveObject(pod); len(set.Pods) != 0 || len(diags.Errors()) != 1 {
		t.Errorf("a pod with address 1.2.3: %v, %v", set.Pods, diags)
	}
}

// TestLiveMeshConfig: whatever the ConfigMap's name, the text is the mesh's, and diagnostics name that ConfigMap.
func TestLiveMeshConfig(t *testing.T) {
	ref := Ref{"ConfigMap", "istio-system", "istio-canary"}
	set, diags := LiveMeshConfig(ref, "trustDomain: td\nrootNamespase: x\n")
	if set.Mesh == nil || set.Mesh.Spec.GetTrustDomain() != "td" || set.Mesh.Ref != ref {
		t.Fatalf("got %+v", set.Mesh)
	}
	if len(diags) != 1 || !strings.HasPrefix(diags[0].String(), "Warning [MZ0203] (ConfigMap istio-system/istio-canary) data.mesh:2:1:") {
		t.Errorf("diagnostics: %v", diags)
	}
}
