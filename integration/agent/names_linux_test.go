package agent

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

// names: where a pod's DNS is captured, its agent knows hosts that no name server does, and passes the others on.
func (w *world) names(t *testing.T) {
	captured, other := w.pods["recommendation-v1"], w.pods["preference-v1"]
	const url = "http://partner.example:8080/"
	w.only(t, strings.ReplaceAll(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: default}
spec:
  hosts: [partner.example]
  location: MESH_EXTERNAL
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: ADDRESS}]
`, "ADDRESS", strconv.Quote(w.ip("10.88.0.20"))))
	envoytest.Await(t, 30*time.Second, "a host that only the mesh knows answers", func() bool {
		// The agent may know the name a moment before Envoy has its listener: then the address that it gives leads nowhere.
		body, code := captured.curl("--max-time", "3", url)
		return code == 200 && strings.HasPrefix(body, "outside")
	})
	if body, code := other.curl(url); code != 0 {
		t.Errorf("where DNS is not captured: status %d, %s", code, body)
	}
	for _, passed := range []string{"http://outside.example:8080/", "http://customer:8080/"} {
		if body, code := captured.curl(passed); code != 200 {
			t.Errorf("%s: status %d, %s", passed, code, body)
		}
	}
	// The node's server has no TCP.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := captured.Dial(ctx, "tcp", net.JoinHostPort(w.addresses(netnstest.Gateway)[0], "53"))
	if err != nil {
		t.Fatalf("DNS over TCP: %v", err)
	}
	defer conn.Close()
	kind, given := dns.TypeA, "240.240."
	if w.six {
		kind, given = dns.TypeAAAA, "2001:2::"
	}
	c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	said, _, err := c.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion("partner.example.", kind), &dns.Conn{Conn: conn})
	if err != nil || len(said.Answer) != 1 || !strings.Contains(said.Answer[0].String(), given) {
		t.Errorf("DNS over TCP: %v, %v", said, err)
	}
}
