package localmesh

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	cpmesh "github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func program(t *testing.T, parts ...string) string {
	t.Helper()
	p := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFindEnvoy(t *testing.T) {
	repo, cwd := t.TempDir(), t.TempDir()
	t.Chdir(cwd)
	t.Setenv("PATH", filepath.Join(cwd, "path"))
	executable := program(t, repo, "bin", "mizzen")
	none := func(string) string { return "" }
	if _, err := FindEnvoy("", executable, none); err == nil || !strings.Contains(err.Error(), "run `make envoy`") {
		t.Errorf("none: %v", err)
	}
	if _, err := FindEnvoy("/no/such", executable, none); err == nil || !strings.Contains(err.Error(), "--envoy names /no/such") {
		t.Errorf("wrong --envoy: %v", err)
	}
	// From the last choice to the first: each beats those before.
	want := func(p string, explicit string, getenv func(string) string) {
		t.Helper()
		if got, err := FindEnvoy(explicit, executable, getenv); err != nil || got != p {
			t.Errorf("got %s, %v, want %s", got, err, p)
		}
	}
	want(program(t, cwd, "path", "envoy"), "", none)
	want(program(t, repo, ".cache/envoy", envoyVersion, "envoy"), "", none)
	want(program(t, cwd, ".cache/envoy", envoyVersion, "envoy"), "", none)
	env := program(t, cwd, "env-envoy")
	fromEnv := func(k string) string { return map[string]string{"ENVOY_BIN": env}[k] }
	want(env, "", fromEnv)
	flag := program(t, cwd, "flag-envoy")
	want(flag, flag, fromEnv)
}

func TestFindModule(t *testing.T) {
	repo, cwd := t.TempDir(), t.TempDir()
	t.Chdir(cwd)
	executable := program(t, repo, "bin", "mizzen")
	none := func(string) string { return "" }
	if got := FindModule(executable, none); got != "" {
		t.Errorf("found %s", got)
	}
	built := program(t, repo, "build", "libmizzen.so")
	if got := FindModule(executable, none); got != built {
		t.Errorf("got %s, want %s", got, built)
	}
	named := program(t, cwd, "x.so")
	if got := FindModule(executable, func(string) string { return named }); got != named {
		t.Errorf("got %s, want %s", got, named)
	}
	if got := FindModule(executable, func(string) string { return "/no/such.so" }); got != "" {
		t.Errorf("MIZZEN_MODULE names nothing, got %s all the same", got)
	}
}

func TestFindWasm(t *testing.T) {
	repo, cwd := t.TempDir(), t.TempDir()
	t.Chdir(cwd)
	executable := program(t, repo, "bin", "mizzen")
	none := func(string) string { return "" }
	if _, err := FindWasm(executable, none); err == nil || !strings.Contains(err.Error(), "make wasm") {
		t.Errorf("nothing is there, and no word of how to build it: %v", err)
	}
	built := program(t, repo, "build", "mizzen.wasm")
	if got, err := FindWasm(executable, none); got != built || err != nil {
		t.Errorf("got %s, %v, want %s", got, err, built)
	}
	if got, err := FindWasm(executable, func(string) string { return "/no/such.wasm" }); err == nil {
		t.Errorf("MIZZEN_WASM names nothing, got %s all the same", got)
	}
}

// TestFilters: what a pod says counts, then what the mesh is to have, and what is not there is native.
func TestFilters(t *testing.T) {
	for _, c := range []struct {
		module, wasm string
		mesh         cpmesh.FilterHost
		pod          string
		want         cpmesh.FilterHost
	}{
		{"m.so", "m.wasm", "", "", cpmesh.HostModule},
		{"", "m.wasm", "", "", cpmesh.HostNative},
		{"m.so", "m.wasm", cpmesh.HostWasm, "", cpmesh.HostWasm},
		{"m.so", "m.wasm", cpmesh.HostNative, "wasm", cpmesh.HostWasm},
		{"m.so", "", cpmesh.HostNative, "wasm", cpmesh.HostNative},
		{"m.so", "m.wasm", "", "golang", cpmesh.HostNative}, // a stock Envoy cannot
	} {
		m := &mesh{module: c.module, wasm: c.wasm, o: Options{Filters: c.mesh}}
		if got := m.filters(map[string]string{"mizzen.dev/filters": c.pod}); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// testMesh has a block of addresses and a state directory, but runs nothing.
func testMesh(t *testing.T, o Options) *mesh {
	t.Helper()
	o.defaults()
	block, err := loopback.Reserve()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(block.Close)
	d, err := state.Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Remove() })
	return &mesh{o: o, dir: d, block: block, workloads: map[string]*workload{}, gateways: map[string]*gateway{}, retiring: map[string]bool{}}
}

func freePort(t *testing.T) uint32 {
	t.Helper()
	p, err := loopback.Choose(localhost)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGatewayPorts(t *testing.T) {
	m := testMesh(t, Options{GatewayPort: freePort(t), GatewayTLSPort: freePort(t)})
	other := freePort(t)
	in, err := m.newGateway(&plan.Gateway{Name: "istio-ingressgateway", Namespace: "istio-system", Ports: []uint32{80, 443, other}, TLS: map[uint32]bool{443: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := in.state()
	if s.HTTP != fmt.Sprintf("http://127.0.0.1:%d", m.o.GatewayPort) || s.HTTPS != fmt.Sprintf("https://127.0.0.1:%d", m.o.GatewayTLSPort) || s.Ports[other] != other {
		t.Errorf("ingress: %+v", s)
	}
	out, err := m.newGateway(&plan.Gateway{Name: "istio-egressgateway", Namespace: "istio-system", Ports: []uint32{80}})
	if err != nil {
		t.Fatal(err)
	}
	if s := out.state(); !strings.HasPrefix(s.Address, "127.1.") || s.HTTP != fmt.Sprintf("http://%s:%d", s.Address, m.o.GatewayPort) || s.Admin != s.Address+":15000" {
		t.Errorf("egress: %+v: it has an address, and so all ports, of its own", s)
	}
}

func TestTakenGatewayPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := uint32(l.Addr().(*net.TCPAddr).Port)
	p := &plan.Gateway{Name: "istio-ingressgateway", Namespace: "istio-system", Ports: []uint32{80}}
	g, err := testMesh(t, Options{GatewayPort: taken}).newGateway(p)
	if err != nil || g.bound(80) == taken {
		t.Errorf("by default another is chosen: %+v, %v", g, err)
	}
	_, err = testMesh(t, Options{GatewayPort: taken, PortsFixed: true}).newGateway(p)
	if err == nil || !strings.Contains(err.Error(), "--gateway-port") {
		t.Errorf("a port asked for is not replaced: %v", err)
	}
	changed, err := g.extend([]uint32{80, taken})
	if err != nil || !changed || g.bound(taken) == taken {
		t.Errorf("a later server on a taken port: %v, %v, %d", changed, err, g.bound(taken))
	}
}

const manifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {replicas: %d, selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a, version: %s}}, spec: {containers: [{name: a, image: x, ports: [{containerPort: 9080}]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {selector: {app: a}, ports: [{name: http, port: 9080}]}
`

func planOf(t *testing.T, replicas int, version, service string) plan.Plan {
	t.Helper()
	set, diags := istio.Decode("x", strings.NewReader(fmt.Sprintf(manifests, replicas, version, service)))
	if w, _ := diags.Worst(); w == istio.Error {
		t.Fatal(diags)
	}
	p, _ := plan.Of(set)
	return p
}

func TestOnlyWhatChangedIsStartedAgain(t *testing.T) {
	m := testMesh(t, Options{})
	place := func(p plan.Plan) {
		for _, pw := range p.Workloads {
			w, err := m.newWorkload(pw)
			if err != nil {
				t.Fatal(err)
			}
			m.workloads[pw.Key()] = w
		}
	}
	place(planOf(t, 2, "v1", "a"))
	first := m.workloads["default/a-0"].pair
	for _, c := range []struct {
		what string
		p    plan.Plan
		gone []string
	}{
		{"nothing", planOf(t, 2, "v1", "a"), nil},
		{"another name for the Service", planOf(t, 2, "v1", "b"), nil},
		{"one replica less", planOf(t, 1, "v1", "a"), []string{"a-1"}},
		{"one more", planOf(t, 3, "v1", "a"), nil},
		{"other labels", planOf(t, 2, "v2", "a"), []string{"a-0", "a-1"}},
	} {
		d, err := m.diff(c.p)
		if err != nil {
			t.Fatal(err)
		}
		var gone []string
		for _, w := range d.goneWorkloads {
			gone = append(gone, w.plan.Name)
		}
		if !slices.Equal(gone, c.gone) {
			t.Errorf("%s: stopped %v, want %v", c.what, gone, c.gone)
		}
	}
	place(planOf(t, 3, "v1", "a"))
	if m.workloads["default/a-0"].pair != first {
		t.Error("a workload moved when its Deployment was scaled")
	}
}

func TestUnknownToTheControlPlane(t *testing.T) {
	m := testMesh(t, Options{})
	w, err := m.newWorkload(planOf(t, 1, "v1", "a").Workloads[0])
	if err != nil {
		t.Fatal(err)
	}
	m.workloads["default/a-0"] = w
	m.retiring["default/a-1"] = true
	for _, c := range []struct {
		revision string
		world    []string
		want     string
	}{
		{"", []string{"default/a-0", "other/vm"}, ""},
		{"", nil, "does not know pod default/a-0"},
		{"", []string{"default/a-0", "default/a-1"}, "still knows pod default/a-1"},
		{"r1", []string{"default/a-0"}, "has not read the applied objects"},
		{"r1", []string{"default/a-0", "mizzen-revision/r0"}, "has not read the applied objects"},
		{"r1", []string{"default/a-0", "mizzen-revision/r1"}, ""},
	} {
		m.revision = c.revision
		if got := m.unknown(server.Summary{Workloads: c.world}); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%q %v: got %q, want %q", c.revision, c.world, got, c.want)
		}
	}
}

func TestUnacknowledged(t *testing.T) {
	id := func(pod string) string { return nodeID("sidecar", "127.1.0.1", pod, "default") }
	refused := map[string]server.TypeState{"rds": {State: server.StateError, Error: "bad regex"}}
	proxies := []server.ProxyStatus{
		{ID: id("ok"), Synced: true, Generation: 5},
		{ID: id("late"), Synced: true, Generation: 4},
		{ID: id("busy"), Generation: 5},
		{ID: id("refusing"), Generation: 5, Types: refused},
		{ID: id("restarted"), Generation: 5, Connected: time.Unix(1, 0)},
		{ID: id("restarted"), Generation: 5, Synced: true, Connected: time.Unix(2, 0)},
	}
	got := unacknowledged([]string{id("ok"), id("late"), id("busy"), id("refusing"), id("restarted"), id("absent")}, proxies, 5)
	if want := []string{"late.default", "busy.default", "absent.default"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDiagnosticsAreToldOnce(t *testing.T) {
	var b strings.Builder
	p := &printer{w: &b, seen: map[string]bool{}}
	one := istio.Diagnostic{Code: "IST0101", Severity: istio.Error, Message: "no such host"}
	two := istio.Diagnostic{Code: "IST0130", Severity: istio.Warning, Message: "unreachable"}
	p.diagnostics(nil)
	p.diagnostics(istio.Diagnostics{one, one})
	p.diagnostics(istio.Diagnostics{one, two})
	p.diagnostics(nil)
	p.diagnostics(istio.Diagnostics{one})
	want := "Error [IST0101] no such host\nWarning [IST0130] unreachable\nno more findings: all is well\nError [IST0101] no such host\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestOutput(t *testing.T) {
	var b strings.Builder
	p := &printer{w: &b, seen: map[string]bool{}}
	s := &state.State{
		Gateways: []state.Gateway{{Name: "istio-ingressgateway", HTTP: "http://127.0.0.1:8080", Ports: map[uint32]uint32{80: 8080, 31400: 31400}, Address: "127.0.0.1"}},
		Workloads: []state.Workload{
			{Name: "web-0", Namespace: "default", Address: "127.1.0.1", Ports: []uint32{80}, Proxy: "http://127.1.0.1:15001", Labels: map[string]string{"app": "web"}},
			{Name: "db-v1-0", Namespace: "default", Address: "127.1.0.2", Ports: []uint32{6379}, Labels: map[string]string{"app": "db", "version": "v1"}},
		},
		ControlPlane: state.ControlPlane{XDS: "127.0.0.1:15010", HTTP: "http://127.0.0.1:15014"},
	}
	p.gateways(s)
	p.workloads(s)
	set, diags := istio.Decode("shop.yaml", strings.NewReader(`
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: db}, ports: [{name: tcp-redis, port: 6379}]}
---
apiVersion: v1
kind: Service
metadata: {name: database}
spec: {selector: {app: db}, ports: [{name: tcp-redis, port: 6379}, {name: http-admin, port: 81, targetPort: 8081}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inside}
spec: {hosts: [redis], http: [{route: [{destination: {host: redis}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: outside}
spec:
  hosts: ["*.example.com"]
  gateways: [shop]
  http:
  - {match: [{uri: {prefix: /dev}, headers: {x-user: {exact: jason}}}], route: [{destination: {host: web}}]}
  - {match: [{uri: {prefix: /shop}}], route: [{destination: {host: web}}]}
`))
	if _, bad := diags.Worst(); bad {
		t.Fatal(diags)
	}
	p.try(s, set, "mizzen")
	for _, want := range []string{
		"gateway istio-ingressgateway: http://127.0.0.1:8080  127.0.0.1:31400\n",
		"NAME      NAMESPACE   VERSION   ADDRESS          PROXY\n",
		"web-0     default     -         127.1.0.1:80     http://127.1.0.1:15001\n",
		"db-v1-0   default     v1        127.1.0.2:6379   none\n",
		"  curl -H 'Host: www.example.com' http://127.0.0.1:8080/shop\n", "  mizzen call -n 200 -H 'Host: www.example.com' /shop\n",
		"  mizzen call --from web-0 http://database:81/\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestProgramThatEndsIsNotWaitedFor: a mistake in one command line does not keep the other workloads from getting ready.
func TestProgramThatEndsIsNotWaitedFor(t *testing.T) {
	p, err := supervisor.Start(supervisor.Command{Name: "ends", Path: "/bin/sh", Args: []string{"-c", "exit 3"}, Backoff: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	start := time.Now()
	if listens(t.Context(), &workload{app: p}, "127.0.0.1:1") {
		t.Error("it listens")
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("it was waited for, %v", d)
	}
}
