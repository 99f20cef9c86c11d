package run

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
`

const secondServer = `  - {port: {number: 81, name: http-second, protocol: HTTP}, hosts: ["*"]}
`

const gatewayRoute = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %[1]s, namespace: default}
spec:
  hosts: [%[1]s.example.com]
  gateways: [gw]
  http: [{route: [{destination: {host: reviews.example.com}}]}]
`

// TestGatewayPortsComeAndGo adds and takes away a second listener with a table of its own, whose virtual hosts no request of
// Envoy's asks for, while virtual hosts of both change.
func TestGatewayPortsComeAndGo(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "state of the world"}[sotw], func(t *testing.T) { portsComeAndGo(t, sotw) })
	}
}

// gatewayRig is a rig whose Envoy is a gateway with two ports, the first of which is served.
func gatewayRig(t *testing.T, sotw bool) (r *rig, ports [2]int) {
	t.Helper()
	ports = [2]int{envoytest.FreePort(t), envoytest.FreePort(t)}
	return gatewayRigWith(t, sotw, func(r *rig) { r.serve(false, "a") }, map[string]any{
		"MIZZEN_BIND_ADDRESS": "127.0.0.1", "MIZZEN_PORTS": map[string]any{"80": ports[0], "81": ports[1]},
	}), ports
}

// gatewayRigWith is a rig whose Envoy is a gateway that says metadata of itself, besides its namespace and labels.
func gatewayRigWith(t *testing.T, sotw bool, write func(*rig), metadata map[string]any) *rig {
	t.Helper()
	envoytest.Find(t)
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	t.Cleanup(back.Close)
	dir := t.TempDir()
	r := &rig{t: t, file: filepath.Join(dir, "mesh.yaml"), client: &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true}}}
	for i := range r.backends {
		_, r.backends[i], _ = net.SplitHostPort(back.Listener.Addr().String())
	}
	write(r)
	r.xds, r.pages, r.log, r.stop = start(t, dir)
	metadata["NAMESPACE"], metadata["LABELS"] = "default", map[string]any{"istio": "ingressgateway"}
	config, err := bootstrap.Config(bootstrap.Options{NodeID: "router~127.0.0.1~gw.default~default.svc.cluster.local", XDSAddress: r.xds,
		StateOfTheWorld: sotw, Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	r.envoy = envoytest.Start(t, envoytest.Options{Config: string(config), Module: "-"})
	r.synced(1)
	return r
}

// TestGatewayTargetPort: a gateway listens where its Service leads, follows a Service that changes, and listens on the Gateway's own port
// once none leads anywhere.
func TestGatewayTargetPort(t *testing.T) {
	number, named, own := envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t)
	serve := func(r *rig, service string) {
		gw := strings.ReplaceAll(gateway, "number: 80", fmt.Sprintf("number: %d", own))
		r.write(r.yaml(100, "---\n"+gw+fmt.Sprintf(gatewayRoute, "a")+service))
	}
	service := func(target string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: gw, namespace: default}\n"+
			"spec: {selector: {istio: ingressgateway}, ports: [{name: http, port: %d, targetPort: %s}]}\n", own, target)
	}
	r := gatewayRigWith(t, false, func(r *rig) { serve(r, service(fmt.Sprint(number))) }, map[string]any{
		"MIZZEN_BIND_ADDRESS": "127.0.0.1", "POD_PORTS": fmt.Sprintf(`[{"name":"web","containerPort":%d,"protocol":"TCP"}]`, named),
	})
	only := func(port int) {
		t.Helper()
		eventually(t, fmt.Sprint("port ", port, " answers"), func() bool { return r.ask(port, "a") == "200" })
		for _, other := range []int{number, named, own} {
			if other != port {
				eventually(t, fmt.Sprint("port ", other, " is closed"), func() bool { return r.ask(other, "a") == "refused" })
			}
		}
	}
	only(number)
	serve(r, service("web"))
	only(named)
	serve(r, "")
	only(own)
}

// serve writes the gateway's rules: with or without the second port, for one host.
func (r *rig) serve(second bool, name string) {
	r.t.Helper()
	s := gateway
	if second {
		s += secondServer
	}
	r.write(r.yaml(100, "---\n"+s+fmt.Sprintf(gatewayRoute, name)))
}

func portsComeAndGo(t *testing.T, sotw bool) {
	r, ports := gatewayRig(t, sotw)
	generation := uint64(1)
	for i := range 6 {
		second := i%2 == 0
		name := fmt.Sprintf("h%d", i)
		r.serve(second, name)
		generation++
		r.synced(generation)
		if got := r.ask(ports[0], name); got != "200" {
			t.Errorf("round %d: first port answers %s", i, got)
		}
		if got := r.ask(ports[0], "gone"); got != "404" {
			t.Errorf("round %d: a host that no rule names gets %s, want 404", i, got)
		}
		if second {
			if got := r.ask(ports[1], name); got != "200" {
				t.Errorf("round %d: second port answers %s", i, got)
			}
			continue
		}
		eventually(t, "the second port is closed", func() bool { return r.ask(ports[1], name) == "refused" })
	}
}

// ask gives the status of a request, or "refused".
func (r *rig) ask(port int, name string) string {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", port), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = name + ".example.com"
	resp, err := r.client.Do(req)
	if err != nil {
		return "refused"
	}
	defer resp.Body.Close()
	return fmt.Sprint(resp.StatusCode)
}

// TestRejectedListener: what Envoy refuses is told with its object and line, everything else goes on and takes changes,
// and what is put right is accepted.
// luaFilter is an EnvoyFilter that puts a Lua filter into a sidecar's outbound HTTP.
func luaFilter(name, code string) string {
	return `---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ` + name + `, namespace: default}
spec:
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_OUTBOUND
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: ` + name + `
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, inlineCode: "` + code + `"}
`
}

// TestStartsWithoutWhatEnvoyRefuses: a sidecar that starts while an EnvoyFilter makes what only Envoy finds wrong comes up without that one
// and with the others, carries traffic, and takes it up once it is mended.
func TestStartsWithoutWhatEnvoyRefuses(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "sotw"}[sotw], func(t *testing.T) {
			good := luaFilter("good", "function envoy_on_response(h) h:headers():add('x-good', 'yes') end")
			bad := luaFilter("bad", "function envoy_on_response(h) this is no Lua")
			r := newRigWith(t, sotw, 0, "", bad+good)
			r.synced(1)
			if h := r.header("x-good"); h != "yes" {
				t.Errorf("the innocent EnvoyFilter is not in force: header %q", h)
			}
			var found []struct {
				Code, Message string
				Object        istio.Ref
				Position      istio.Position
			}
			text := fetch(t, "http://"+r.pages+"/debug/diagnostics", &found)
			line := 1 + strings.Count(strings.Split(r.yaml(50, bad), "  - applyTo")[0], "\n")
			if len(found) != 1 || found[0].Code != server.CodeLeftOut || found[0].Object.Name != "bad" || found[0].Position.File != r.file ||
				found[0].Position.Line > line || found[0].Position.Line < line-6 || !strings.Contains(found[0].Message, "proxy curl.default") {
				t.Errorf("diagnostics, want one of about line %d: %s", line, text)
			}
			if st := r.status(); len(st[0].Without) != 1 || !strings.Contains(st[0].Without[0], "EnvoyFilter default/bad") {
				t.Errorf("status %+v", st)
			}
			mended := luaFilter("bad", "function envoy_on_response(h) h:headers():add('x-bad', 'mended') end")
			r.write(r.yaml(50, mended+good))
			eventually(t, "the mended one is in force", func() bool { return r.header("x-bad") == "mended" })
			r.synced(2)
			if s := fetch(t, "http://"+r.pages+"/debug/diagnostics", nil); strings.Contains(s, "MZ06") {
				t.Errorf("still told: %s", s)
			}
			// A proxy that has it keeps it as it was.
			r.write(r.yaml(50, bad+good))
			eventually(t, "the rejection is told", func() bool {
				return strings.Contains(fetch(t, "http://"+r.pages+"/debug/diagnostics", nil), server.CodeRejected)
			})
			if h := r.header("x-bad"); h != "mended" {
				t.Errorf("header %q of the last good version", h)
			}
		})
	}
}

// header asks the service and returns one header of the answer; "" also if there is no answer.
func (r *rig) header(name string) string {
	resp, err := r.client.Get("http://reviews.example.com:9080/")
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	return resp.Header.Get(name)
}

func TestRejectedListener(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "state of the world"}[sotw], func(t *testing.T) {
			r, ports := gatewayRig(t, sotw)
			taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1]))
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			rejection := func() string { return fetch(t, "http://"+r.pages+"/debug/diagnostics", nil) }
			r.serve(true, "b")
			eventually(t, "the rejection is told", func() bool { return strings.Contains(rejection(), server.CodeRejected) })
			line := strings.Count(strings.Split(r.yaml(100, "---\n"+gateway+secondServer), "{number: 81")[0], "\n") + 1
			if s := rejection(); !strings.Contains(s, `"Gateway"`) || !strings.Contains(s, `"gw"`) || !strings.Contains(s, fmt.Sprintf(`"line": %d`, line)) {
				t.Errorf("want Gateway gw and its server's line %d, got %s", line, s)
			}
			for _, host := range []string{"b", "c", "d"} {
				r.serve(true, host)
				eventually(t, "the first port takes "+host, func() bool { return r.ask(ports[0], host) == "200" })
			}
			taken.Close()
			r.serve(false, "e")
			eventually(t, "nothing is rejected", func() bool { return !strings.Contains(rejection(), server.CodeRejected) })
			r.serve(true, "e")
			eventually(t, "the second port answers", func() bool { return r.ask(ports[1], "e") == "200" })
		})
	}
}
