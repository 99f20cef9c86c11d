package graph

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/internal/graph"
)

var shared = meshtest.Shared{Manifests: "testdata/mesh"}

func TestMain(m *testing.M) { shared.Main(m) }

// seen is what `mizzen graph` shows of all that was, by "from > to".
func seen(t *testing.T, m *meshtest.Mesh, args ...string) map[string]graph.Edge {
	t.Helper()
	out, code := m.Run(t, "", append([]string{"graph", "-o", "json", "--window", "0"}, args...)...)
	var g graph.Graph
	if err := json.Unmarshal([]byte(out), &g); err != nil || code != 0 {
		t.Fatalf("mizzen graph ended with %d, %v:\n%s", code, err, out)
	}
	edges := map[string]graph.Edge{}
	for _, e := range g.Edges {
		edges[e.From+" > "+e.To] = *e
	}
	return edges
}

// TestEdges: each call that was made is on the edge of its two versions, and on no other.
func TestEdges(t *testing.T) {
	m := shared.Mesh(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "outside") }))
	t.Cleanup(web.Close)
	u, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [outside.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %s}]
  endpoints: [{address: 127.0.0.1}]
`, u.Port()))
	outside, front, back := m.ViaGateway(), m.From(t, "front-v1-0"), m.From(t, "back-v1-0")
	for range 20 {
		outside.Must(t, "/")
	}
	for range 4 {
		front.Must(t, "http://legacy:8080/")
		front.Must(t, "http://outside.example.com/")
	}
	for i := range 10 {
		fail := "0"
		if i%2 == 0 {
			fail = "1"
		}
		if _, err := back.Get("http://legacy:8080/", "fail: "+fail); err != nil {
			t.Fatal(err)
		}
	}
	echo(t, m)

	edges := seen(t, m)
	expect := func(name string, requests, failed uint64, protocol, tls string) {
		t.Helper()
		e, ok := edges[name]
		if !ok || e.Requests != requests || e.Failed != failed || e.Protocol != protocol || e.TLS != tls {
			t.Errorf("%s: %+v, want %d requests, %d failed, %s, TLS %s", name, e, requests, failed, protocol, tls)
		}
	}
	expect("istio-system/istio-ingressgateway > default/front@v1", 20, 0, "http", graph.TLSAll)
	expect("default/front@v1 > default/legacy@v1", 4, 0, "http", graph.TLSNone)
	expect("default/front@v1 > outside.example.com", 4, 0, "http", graph.TLSNone)
	expect("default/back@v1 > default/legacy@v1", 10, 5, "http", graph.TLSNone)
	expect("default/front@v1 > default/store@v1", 1, 0, "tcp", graph.TLSAll)
	v1, v2 := edges["default/front@v1 > default/back@v1"], edges["default/front@v1 > default/back@v2"]
	if v1.Requests+v2.Requests != 20 || v1.TLS != graph.TLSAll || v2.TLS != graph.TLSAll {
		t.Errorf("from front to back: %+v and %+v, want 20 requests by mTLS", v1, v2)
	}
	if len(edges) != 7 {
		t.Errorf("%d edges, want 7: %v", len(edges), edges)
	}
	if here := seen(t, m, "-n", "istio-system"); len(here) != 1 {
		t.Errorf("from the gateway's namespace: %v", here)
	}
	timesShow(t, m)
	weightsMove(t, m, v1.Requests)
	pictures(t, m)
}

// timesShow: each edge of HTTP has the times of its requests once the proxy has summed them up.
func timesShow(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	meshtest.Eventually(t, "the times of all requests, and none of TCP", func() bool {
		for _, e := range seen(t, m) {
			if known := 0 < e.P50 && e.P50 <= e.P95 && e.P95 < 60_000; known != (e.Protocol == "http") {
				return false
			}
		}
		return true
	})
}

// echo sends bytes to store and has them back.
func echo(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	conn, err := m.Dialer(t, "front-v1-0", "store:6379", "6379")()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
}

// weightsMove: once all weight is on v2, nothing more goes to v1, of which earlier requests are known.
func weightsMove(t *testing.T, m *meshtest.Mesh, earlier uint64) {
	t.Helper()
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: back}
spec: {hosts: [back], http: [{route: [{destination: {host: back, subset: v2}}]}]}
`)
	for range 10 {
		m.ViaGateway().Must(t, "/")
	}
	edges := seen(t, m)
	if got := edges["default/front@v1 > default/back@v1"].Requests; got != earlier {
		t.Errorf("%d requests to v1, want %d as before", got, earlier)
	}
	if got := edges["default/front@v1 > default/back@v2"].Requests; got != 30-earlier {
		t.Errorf("%d requests to v2, want %d", got, 30-earlier)
	}
}

// pictures: the other forms, and the page, show the same edges.
func pictures(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	for form, want := range map[string][]string{
		"table": {"FROM", "front v1 ", "mTLS"}, "dot": {`"default/front@v1" -> "default/back@v2"`}, "svg": {"<svg ", "front v1 to back v2"},
	} {
		out, code := m.Run(t, "", "graph", "-o", form, "--window", "10ms")
		for _, w := range want {
			if code != 0 || !strings.Contains(out, w) {
				t.Errorf("-o %s ended with %d, and has no %q:\n%s", form, code, w, out)
			}
		}
	}
	if page := string(m.Pages(t, "/")); !strings.Contains(page, "<svg ") || !strings.Contains(page, "front v1 to back v2") {
		t.Errorf("the page does not show who calls whom:\n%s", page)
	}
	var g graph.Graph
	if err := json.Unmarshal(m.Pages(t, "/debug/graph"), &g); err != nil || len(g.Edges) != 7 {
		t.Errorf("/debug/graph: %v, %+v", err, g)
	}
	if out, code := m.Run(t, "", "graph", "-o", "png"); code != 2 {
		t.Errorf("-o png ended with %d:\n%s", code, out)
	}
}
