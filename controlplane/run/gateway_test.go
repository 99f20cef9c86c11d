package run

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
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

func portsComeAndGo(t *testing.T, sotw bool) {
	envoytest.Find(t)
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	t.Cleanup(back.Close)
	dir := t.TempDir()
	r := &rig{t: t, file: filepath.Join(dir, "mesh.yaml"), client: &http.Client{Timeout: wait, Transport: &http.Transport{DisableKeepAlives: true}}}
	for i := range r.backends {
		_, r.backends[i], _ = net.SplitHostPort(back.Listener.Addr().String())
	}
	write := func(second bool, name string) {
		s := gateway
		if second {
			s += secondServer
		}
		r.write(r.yaml(100, "---\n"+s+fmt.Sprintf(gatewayRoute, name)))
	}
	write(false, "a")
	r.xds, r.pages, r.log, r.stop = start(t, dir)
	ports := [2]int{envoytest.FreePort(t), envoytest.FreePort(t)}
	config, err := bootstrap.Config(bootstrap.Options{NodeID: "router~127.0.0.1~gw.default~default.svc.cluster.local", XDSAddress: r.xds,
		StateOfTheWorld: sotw, Metadata: map[string]any{
			"NAMESPACE": "default", "LABELS": map[string]any{"istio": "ingressgateway"}, "MIZZEN_BIND_ADDRESS": "127.0.0.1",
			"MIZZEN_PORTS": map[string]any{"80": ports[0], "81": ports[1]},
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.envoy = envoytest.Start(t, envoytest.Options{Config: string(config), Module: "-"})
	generation := uint64(1)
	r.synced(generation)
	for i := range 6 {
		second := i%2 == 0
		name := fmt.Sprintf("h%d", i)
		write(second, name)
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
