package proxyconfig

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// A Sidecar's egress listens where it says: on a port of the workload's own loopback, and on a Unix socket.
func TestEgressBind(t *testing.T) {
	m := shared.Mesh(t)
	socket := filepath.Join(t.TempDir(), "shop.sock")
	address := ""
	for _, w := range m.Ready.Workloads {
		if w.Name == "client-0" {
			address = w.Address
		}
	}
	m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
  - port: {number: 9180, protocol: HTTP, name: http}
    captureMode: NONE
    hosts: ["./shop.default.svc.cluster.local"]
  - port: {number: 0, protocol: HTTP, name: socket}
    bind: unix://%s
    hosts: ["./shop.default.svc.cluster.local"]
`, socket))
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	for name, dial := range map[string][2]string{"port": {"tcp", net.JoinHostPort(host, "9180")}, "socket": {"unix", socket}} {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, dial[0], dial[1])
		}}}
		meshtest.Eventually(t, name+" leads to the shop", func() bool {
			res, err := c.Get("http://shop:9180/")
			if err != nil {
				return false
			}
			res.Body.Close()
			return res.StatusCode == http.StatusOK && res.Header.Get("server") != ""
		})
	}
}
