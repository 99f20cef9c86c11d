package traffic

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// forwardProxy is an HTTP proxy for connections, by CONNECT and by POST, that leads nowhere: it says how it was asked, then echoes. Its
// port on loopback.
func forwardProxy(t *testing.T) (port int) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := fmt.Sprintf("%s %s\n", r.Method, r.Host)
		c := http.NewResponseController(w)
		if r.Method == http.MethodPost {
			_ = c.EnableFullDuplex()
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, asked)
			_ = c.Flush()
			line, _ := bufio.NewReader(r.Body).ReadString('\n')
			_, _ = io.WriteString(w, line)
			return
		}
		w.WriteHeader(http.StatusOK)
		_ = c.Flush()
		conn, rw, err := c.Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, asked)
		_, _ = io.Copy(conn, rw)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// A connection to a host goes through an HTTP proxy, which is asked for what the DestinationRule of the proxy says; its client knows
// nothing of that, whether it connects to the port itself or by its sidecar's explicit proxy.
func TestTunnel(t *testing.T) {
	m := shared.Mesh(t)
	proxy := m.Proxy(t, client)
	host, _, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	own := envoytest.FreePort(t)
	for _, test := range []struct{ protocol, asked string }{{"CONNECT", "CONNECT db.internal:5432"}, {"POST", "POST db.internal:5432"}} {
		t.Run(test.protocol, func(t *testing.T) {
			m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: proxy}
spec:
  hosts: [proxy.example]
  ports: [{number: 3128, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {tcp: %d}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db}
spec:
  hosts: [db.example]
  ports: [{number: %d, name: tcp, protocol: TCP}]
  resolution: NONE
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db.example]
  tcp: [{route: [{destination: {host: proxy.example, port: {number: 3128}}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: proxy}
spec: {host: proxy.example, trafficPolicy: {tunnel: {protocol: %s, targetHost: db.internal, targetPort: 5432}}}
`, forwardProxy(t), own, test.protocol))
			talk := func(conn net.Conn, err error) string {
				if err != nil {
					return err.Error()
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if _, err := io.WriteString(conn, "hello\n"); err != nil {
					return err.Error()
				}
				r := bufio.NewReader(conn)
				asked, err := r.ReadString('\n')
				if err != nil {
					return err.Error()
				}
				back, err := r.ReadString('\n')
				return fmt.Sprint(strings.TrimSpace(asked), " ", strings.TrimSpace(back), " ", err)
			}
			got := ""
			meshtest.Eventually(t, "a connection in a tunnel", func() bool {
				got = talk(net.DialTimeout("tcp", net.JoinHostPort(host, fmt.Sprint(own)), time.Second))
				return got == test.asked+" hello <nil>"
			})
			meshtest.Eventually(t, "a tunnel in a tunnel, or its refusal", func() bool {
				conn, err := meshtest.Connect(proxy, fmt.Sprintf("db.example:%d", own))
				if test.protocol == "POST" {
					return err != nil && strings.Contains(err.Error(), "501")
				}
				got = talk(conn, err)
				return got == test.asked+" hello <nil>"
			})
			if t.Failed() {
				t.Logf("last: %s", got)
			}
		})
	}
}
