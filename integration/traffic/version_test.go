package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// teller answers with the version of HTTP by which it was asked; the port on loopback.
func teller(t *testing.T) (port int) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// Which version of HTTP a service is spoken to is its port's to say, and its DestinationRule's: not the client's, unless that says so.
func TestHTTPVersion(t *testing.T) {
	m := shared.Mesh(t)
	plain := m.From(t, client)
	h2 := meshtest.HTTP2(t, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, m.Proxy(t, client))
	})
	const url = "http://version.example/"
	for _, test := range []struct{ name, port, pool, want1, want2 string }{
		{"HTTP", "http", "{}", "HTTP/1.1", "HTTP/1.1"},
		{"HTTP2", "http2", "{}", "HTTP/2.0", "HTTP/2.0"},
		{"upgrade", "http", "{h2UpgradePolicy: UPGRADE}", "HTTP/2.0", "HTTP/2.0"},
		{"no upgrade", "http", "{h2UpgradePolicy: DO_NOT_UPGRADE}", "HTTP/1.1", "HTTP/1.1"},
		{"the client's", "http", "{useClientProtocol: true}", "HTTP/1.1", "HTTP/2.0"},
		{"the client's, whatever the port says", "http2", "{useClientProtocol: true}", "HTTP/1.1", "HTTP/2.0"},
		{"nothing said", "", "{}", "HTTP/1.1", "HTTP/2.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: version}
spec:
  hosts: [version.example]
  ports: [{number: 80, name: web, protocol: %q}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {web: %d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: version}
spec: {host: version.example, trafficPolicy: {connectionPool: {http: %s}, loadBalancer: {simple: RANDOM}}}
`, strings.ToUpper(test.port), teller(t), test.pool))
			plain.Await(t, "a request by HTTP/1.1", func(a meshtest.Answer) bool { return a.Code == 200 && a.Body == test.want1 }, url)
			meshtest.Eventually(t, "a request by HTTP/2 arrives by "+test.want2, func() bool {
				res, err := h2.Get(url)
				if err != nil {
					return false
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				return err == nil && res.ProtoMajor == 2 && string(b) == test.want2
			})
		})
	}
}
