package compile

import (
	"reflect"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const reuseInput = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [a.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.1}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b}
spec: {hosts: [b.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.2}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [a.example.com], http: [{route: [{destination: {host: a.example.com}}], timeout: 1s}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b}
spec: {host: b.example.com, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
`

func reuseWorld(t *testing.T, text string) *mesh.World {
	t.Helper()
	set, diags := istio.Decode("in.yaml", strings.NewReader(text))
	if len(diags.Errors()) > 0 {
		t.Fatal(diags)
	}
	w, _ := World(Inputs{Set: set})
	return w
}

func TestReuse(t *testing.T) {
	old := reuseWorld(t, reuseInput)
	edited := strings.NewReplacer("timeout: 1s", "timeout: 2s", "10.0.0.2", "10.0.0.3").Replace(reuseInput)
	now, want := reuseWorld(t, edited), reuseWorld(t, edited)
	Reuse(old, now)
	if !reflect.DeepEqual(now, want) {
		t.Fatal("reusing parts changed what the World says")
	}
	if now.Services[0] != old.Services[0] || now.Policies[0] != old.Policies[0] {
		t.Error("an unchanged part is another one than before")
	}
	if now.Rules[0] == old.Rules[0] {
		t.Error("a changed rule is the old one")
	}
	a, b := mesh.EndpointKey{Hostname: "a.example.com", Namespace: "default", Port: 80}, mesh.EndpointKey{Hostname: "b.example.com", Namespace: "default", Port: 80}
	if now.Endpoints[a][0] != old.Endpoints[a][0] {
		t.Error("unchanged endpoints are other ones than before")
	}
	if now.Endpoints[b][0] == old.Endpoints[b][0] {
		t.Error("changed endpoints are the old ones")
	}
}

// TestReuseKeepsNumbers: two parts that are equal stay two parts, and what goes, goes.
func TestReuseKeepsNumbers(t *testing.T) {
	part := func() *mesh.Workload { return &mesh.Workload{Name: "w", Namespace: "default"} }
	old := &mesh.World{Workloads: []*mesh.Workload{part(), part()}}
	now := &mesh.World{Workloads: []*mesh.Workload{part(), part(), part()}}
	Reuse(old, now)
	if now.Workloads[0] != old.Workloads[0] || now.Workloads[1] != old.Workloads[1] || now.Workloads[2] == old.Workloads[0] {
		t.Error("equal parts were not told apart")
	}
	fewer := &mesh.World{Workloads: []*mesh.Workload{part()}}
	Reuse(old, fewer)
	if len(fewer.Workloads) != 1 || fewer.Workloads[0] != old.Workloads[0] {
		t.Error("a part came back, or was not reused")
	}
	Reuse(nil, now)
}
