package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

// names: where a pod's DNS is captured, its agent knows hosts that no name server does, and passes the others on.
func (w *world) names(t *testing.T) {
	captured, other := w.pods["recommendation-v1"], w.pods["recommendation-v2"]
	const url = "http://partner.example:8080/"
	w.only(t, `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: partner, namespace: default}
spec:
  hosts: [partner.example]
  location: MESH_EXTERNAL
  ports: [{number: 8080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 10.88.0.20}]
`)
	envoytest.Await(t, 30*time.Second, "a host that only the mesh knows answers", func() bool {
		body, code := captured.curl(url)
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
	conn, err := captured.Dial(ctx, "tcp", netnstest.Gateway+":53")
	if err != nil {
		t.Fatalf("DNS over TCP: %v", err)
	}
	defer conn.Close()
	c := &dns.Client{Net: "tcp", Timeout: 10 * time.Second}
	said, _, err := c.ExchangeWithConnContext(ctx, new(dns.Msg).SetQuestion("partner.example.", dns.TypeA), &dns.Conn{Conn: conn})
	if err != nil || len(said.Answer) != 1 || !strings.Contains(said.Answer[0].String(), "240.240.") {
		t.Errorf("DNS over TCP: %v, %v", said, err)
	}
}
