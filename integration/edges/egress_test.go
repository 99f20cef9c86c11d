package edges

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// egressGateway is a gateway for traffic that leaves, and its Service, on a port for HTTP and one for TLS.
func egressGateway(plain, secure int) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: istio-egressgateway, namespace: istio-system}
spec:
  selector: {istio: egressgateway}
  ports: [{name: http, port: %[1]d}, {name: tls, port: %[2]d}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: egress}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: %[1]d, name: http, protocol: HTTP}
    hosts: [plain.example.com]
  - port: {number: %[2]d, name: tls, protocol: TLS}
    hosts: [secret.example.com]
    tls: {mode: PASSTHROUGH}
---`, plain, secure)
}

// Scenario 14, the part of the egress gateway: what a workload sends outside goes through the gateway, HTTP by its host, TLS by its
// server name, and the gateway's own counters say so.
func TestEgressGateway(t *testing.T) {
	m := shared.Mesh(t)
	plain, secure := envoytest.FreePort(t), envoytest.FreePort(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside "+r.Host) }))
	t.Cleanup(web.Close)
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	var target int
	fmt.Sscan(u.Port(), &target) //nolint:errcheck // httptest's own
	ca := newAuthority(t, "outside")
	hidden := teller(t, "secret", &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, "secret.example.com")}})
	m.Apply(t, outside("plain.example.com", "HTTP", 80, target)+outside("secret.example.com", "TLS", 443, hidden)+
		egressGateway(plain, secure)+fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: plain-out}
spec:
  hosts: [plain.example.com]
  gateways: [mesh, egress]
  http:
  - match: [{gateways: [mesh], port: 80}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: %[1]d}}}]
  - match: [{gateways: [egress], port: %[1]d}]
    route: [{destination: {host: plain.example.com, port: {number: 80}}}]
    headers: {response: {set: {x-way: egress}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: secret-out}
spec:
  hosts: [secret.example.com]
  gateways: [mesh, egress]
  tls:
  - match: [{gateways: [mesh], port: 443, sniHosts: [secret.example.com]}]
    route: [{destination: {host: istio-egressgateway.istio-system.svc.cluster.local, port: {number: %[2]d}}}]
  - match: [{gateways: [egress], port: %[2]d, sniHosts: [secret.example.com]}]
    route: [{destination: {host: secret.example.com, port: {number: 443}}}]
`, plain, secure))
	from := m.Ready.Workloads[0]
	m.From(t, from.Name).Await(t, "the way out through the gateway", func(a meshtest.Answer) bool {
		return a.Code == 200 && a.Body == "outside plain.example.com" && a.Header.Get("x-way") == "egress"
	}, "http://plain.example.com/")

	meshtest.Eventually(t, "TLS through the gateway", func() bool {
		got, err := hear(tunnel(strings.TrimPrefix(from.Proxy, "http://"), "secret.example.com:443", &tls.Config{RootCAs: ca.pool(), ServerName: "secret.example.com"}))
		return err == nil && got == "secret"
	})
	if err := m.Reload(); err != nil {
		t.Fatal(err)
	}
	for _, g := range m.Ready.Gateways {
		if g.Name != "istio-egressgateway" {
			continue
		}
		res, err := http.Get("http://" + g.Admin + "/stats?filter=443.*secret.example.com.*upstream_cx_total")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(body), "upstream_cx_total") || strings.HasSuffix(strings.TrimSpace(string(body)), ": 0") {
			t.Errorf("the egress gateway's connections are %q, %v", body, err)
		}
		return
	}
	t.Errorf("no egress gateway in %+v", m.Ready.Gateways)
}

// tunnel asks an HTTP proxy for a connection and speaks TLS in it.
func tunnel(proxy, to string, config *tls.Config) (net.Conn, error) {
	c, err := meshtest.Connect(proxy, to)
	if err != nil {
		return nil, err
	}
	return tls.Client(c, config), nil
}
