package edges

import (
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// teller is a server outside the mesh that says its name to every connection, over TLS if it has a configuration.
func teller(t *testing.T, name string, config *tls.Config) (port int) {
	t.Helper()
	var l net.Listener
	var err error
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(20 * time.Second))
				fmt.Fprint(c, name)
			}()
		}
	}()
	return port
}

// hear reads what a connection is told.
func hear(c net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

// outside is a ServiceEntry for a teller.
func outside(host, protocol string, port, target int) string {
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%s]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: %d, name: p, protocol: %s, targetPort: %d}]
  endpoints: [{address: 127.0.0.1}]
---`, strings.ReplaceAll(host, ".", "-"), host, port, protocol, target)
}

// Done when 2, SNI passthrough: one port of the gateway leads to two servers by the names in the clients' TLS, which the gateway
// does not end: each client sees its server's own certificate.
func TestPassthroughByServerName(t *testing.T) {
	m := shared.Mesh(t)
	ca := newAuthority(t, "backends")
	server := func(host string) int {
		return teller(t, host, &tls.Config{Certificates: []tls.Certificate{ca.certificate(t, host)}})
	}
	port := envoytest.FreePort(t)
	m.Apply(t, outside("a.example.com", "TLS", 443, server("a.example.com"))+outside("b.example.com", "TLS", 443, server("b.example.com"))+fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: through}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %d, name: tls, protocol: TLS}
    hosts: ["*.example.com"]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through}
spec:
  hosts: [a.example.com, b.example.com]
  gateways: [through]
  tls:
  - match: [{sniHosts: [a.example.com]}]
    route: [{destination: {host: a.example.com}}]
  - match: [{sniHosts: [b.example.com]}]
    route: [{destination: {host: b.example.com}}]
`, port))
	at := fmt.Sprintf("127.0.0.1:%d", port)
	for _, host := range []string{"a.example.com", "b.example.com"} {
		config := &tls.Config{RootCAs: ca.pool(), ServerName: host}
		meshtest.Eventually(t, "a way to "+host, func() bool {
			got, err := hear(tls.Dial("tcp", at, config))
			return err == nil && got == host
		})
	}
	if got, err := hear(tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, ServerName: "c.example.com"})); err == nil {
		t.Errorf("a name without a route is told %q", got)
	}
}

// Done when 2, TCP route: connections to a service are divided by weight, at a workload's own proxy and at a gateway.
func TestWeightedTCP(t *testing.T) {
	m := shared.Mesh(t)
	port := envoytest.FreePort(t)
	m.Apply(t, outside("one.test", "TCP", port, teller(t, "one", nil))+outside("two.test", "TCP", port+1, teller(t, "two", nil))+fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bytes}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %[1]d, name: tcp, protocol: TCP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes}
spec:
  hosts: [one.test]
  gateways: [mesh, bytes]
  tcp:
  - match: [{port: %[1]d}]
    route:
    - {destination: {host: one.test, port: {number: %[1]d}}, weight: 75}
    - {destination: {host: two.test, port: {number: %[2]d}}, weight: 25}
`, port, port+1))
	sidecar := ""
	for _, w := range m.Ready.Workloads {
		sidecar = w.Address
	}
	for where, address := range map[string]string{"the gateway": "127.0.0.1", "the sidecar": sidecar} {
		at := net.JoinHostPort(address, fmt.Sprint(port))
		meshtest.Eventually(t, where+" takes connections", func() bool {
			got, err := hear(net.Dial("tcp", at))
			return err == nil && got == "two"
		})
		const n = 200
		count := map[string]int{}
		for range n {
			got, err := hear(net.Dial("tcp", at))
			if err != nil {
				t.Fatal(err)
			}
			count[got]++
		}
		// 5 sigma of a binomial distribution.
		if d := math.Abs(float64(count["two"]) - n*0.25); d > 5*math.Sqrt(n*0.25*0.75) || count["one"]+count["two"] != n {
			t.Errorf("%s: %v of %d, want a quarter to go to two", where, count, n)
		}
	}
}
