package scenarios

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 2: versions behind one Service share by endpoints, and scaling one moves the share.
func TestNoRules(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	const n = 900
	got := c.Tally(t, n, version, reviews)
	for _, v := range []string{"v1", "v2", "v3"} {
		wantShare(t, v, got[v], n, 1./3)
	}
	t.Cleanup(func() { m.Run(t, strings.Replace(scaledV2, "replicas: 2", "replicas: 1", 1), "apply", "-f", "-") })
	if out, status := m.Run(t, scaledV2, "apply", "-f", "-"); status != 0 {
		t.Fatal(out)
	}
	c.Await(t, "the second replica answers", func(a meshtest.Answer) bool { return instance(a) == "reviews-v2-1" }, reviews)
	got = c.Tally(t, n, version, reviews)
	wantShare(t, "v2 with two replicas of four", got["v2"], n, 1./2)
}

const scaledV2 = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v2}
spec:
  replicas: 2
  selector: {matchLabels: {app: reviews, version: v2}}
  template:
    metadata:
      labels: {app: reviews, version: v2}
      annotations: {mizzen.dev/calls: "http://ratings:9080/"}
    spec:
      containers: [{name: app, image: "example/reviews:v2", ports: [{containerPort: 9080}]}]
`

// Row 3: exact versions, then shares, then back to all.
func TestSubsetsAndWeights(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	to := func(v string) string { return "  - route: [{destination: {host: reviews, subset: " + v + "}}]\n" }
	t.Run("exact", func(t *testing.T) {
		m.Apply(t, reviewsTo(to("v2")))
		c.Await(t, "v2", isVersion("v2"), reviews)
		if got := c.Tally(t, 200, version, reviews); got["v2"] != 200 {
			t.Errorf("all to v2: got %v", got)
		}
		m.Apply(t, reviewsTo(to("v1")))
		c.Await(t, "v1", isVersion("v1"), reviews)
		if got := c.Tally(t, 200, version, reviews); got["v1"] != 200 {
			t.Errorf("all to v1: got %v", got)
		}
	})
	for _, w := range []int{10, 20, 30, 70} {
		t.Run(fmt.Sprintf("%d to v2", w), func(t *testing.T) {
			m.Apply(t, reviewsTo(fmt.Sprintf("  - route:\n    - {destination: {host: reviews, subset: v1}, weight: %d}\n    - {destination: {host: reviews, subset: v2}, weight: %d}\n", 100-w, w)))
			c.Await(t, "v2", isVersion("v2"), reviews)
			c.Await(t, "v1", isVersion("v1"), reviews)
			const n = 1500
			got := c.Tally(t, n, version, reviews)
			wantShare(t, "v2", got["v2"], n, float64(w)/100)
			if got["v1"]+got["v2"] != n {
				t.Errorf("only v1 and v2 may answer: %v", got)
			}
		})
	}
	c.Await(t, "rules deleted: v3 answers again", isVersion("v3"), reviews)
}

// Row 4: header canaries reach through every hop that forwards the header.
func TestHeaderCanary(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, reviewsTo(`
  - match:
    - headers: {baggage-user-agent: {regex: ".*Safari.*"}}
    - headers: {x-dev-user: {exact: jason}}
    - headers: {source: {exact: terminal}}
    route: [{destination: {host: reviews, subset: v3}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`))
	m.Apply(t, throughGateway)
	c := m.ViaGateway()
	viaReviews := func(v string) func(meshtest.Answer) bool {
		return func(a meshtest.Answer) bool { return a.Code == 200 && strings.Contains(a.Body, "reviews "+v+" ") }
	}
	c.Await(t, "v1 without headers", viaReviews("v1"), "/")
	c.Await(t, "v3 with a header", viaReviews("v3"), "/", "x-dev-user: jason")
	for _, tc := range []struct{ header, want string }{
		{"x-dev-user: jason", "v3"}, {"user-agent: Mozilla/5.0 Safari/605", "v3"},
		{"x-dev-user: jasons", "v1"}, {"x-dev-user: Jason", "v1"}, {"user-agent: curl/8", "v1"},
		{"x-mizzen-route: r0.d0", "v1"}, {"x-mizzen-route: r0.d0.1", "v1"},
	} {
		for range 50 {
			if a := c.Must(t, "/", tc.header); !viaReviews(tc.want)(a) {
				t.Fatalf("%s: want reviews %s, got %d %q", tc.header, tc.want, a.Code, a.Body)
			}
		}
	}
	direct := m.From(t, "productpage-v1-0")
	if a := direct.Must(t, reviews, "source: terminal"); version(a) != "v3" {
		t.Errorf("source: terminal got %d %q", a.Code, a.Body)
	}
}

const throughGateway = `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: through-gateway}
spec:
  hosts: ["*"]
  gateways: [bookshop]
  http:
  - route: [{destination: {host: productpage, port: {number: 9080}}}]
`

// Row 5: path precedence and rewriting.
func TestPathRouting(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: paths}
spec:
  hosts: ["*"]
  gateways: [bookshop]
  http:
  - match: [{uri: {exact: /exact}}]
    route: [{destination: {host: details}}]
  - match: [{uri: {prefix: /v2/}}, {uri: {exact: /v2}}]
    rewrite: {uri: /}
    route: [{destination: {host: ratings}}]
  - match: [{uri: {prefix: /go}}]
    redirect: {uri: /gone, redirectCode: 302}
  - route: [{destination: {host: reviews}}]
`)
	c := m.ViaGateway()
	c.Await(t, "the default", func(a meshtest.Answer) bool { return strings.HasPrefix(a.Body, "reviews ") }, "/")
	for _, tc := range []struct{ path, service, seen string }{
		{"/v2/x", "ratings", "/x"}, {"/v2", "ratings", "/"}, {"/exact", "details", "/exact"},
		{"/exactly", "reviews", "/exactly"}, {"/v22", "reviews", "/v22"},
	} {
		a := c.Must(t, tc.path, "accept: application/json")
		if a.Code != 200 || !strings.Contains(a.Body, `"service":"`+tc.service+`"`) || !strings.Contains(a.Body, `"path":"`+tc.seen+`"`) {
			t.Errorf("%s: want %s to see %s, got %d %s", tc.path, tc.service, tc.seen, a.Code, a.Body)
		}
	}
	if a := c.Must(t, "/go/x"); a.Code != 302 || !strings.HasSuffix(a.Header.Get("location"), "/gone") {
		t.Errorf("redirect: got %d %v", a.Code, a.Header)
	}
}

// Row 6: a missing subset costs its route a 503 and is told with file and line.
func TestMissingSubset(t *testing.T) {
	m := shared.Mesh(t)
	file := filepath.Join(m.Dir, "missing-subset.yaml")
	yaml := reviewsTo(`
  - match: [{headers: {x-dev-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v9}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`)
	if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(file)
	c := m.From(t, "productpage-v1-0")
	c.Await(t, "503 for the broken route", hasCode(503), reviews, "x-dev-user: jason")
	if got := c.Tally(t, 100, version, reviews); got["v1"] != 100 {
		t.Errorf("the other route must go on: %v", got)
	}
	meshtest.Eventually(t, "the diagnostic names file and line", func() bool {
		return strings.Contains(m.Output(), "IST0101") && strings.Contains(m.Output(), "missing-subset.yaml:21:43") && strings.Contains(m.Output(), "v9")
	})
	os.Remove(file)
	c.Await(t, "healed", isVersion("v3"), reviews)
}

// Row 13: nothing answers without a rule, and only the host of the rule with one.
func TestGatewayHosts(t *testing.T) {
	m := shared.Mesh(t)
	c := m.ViaGateway()
	if a, err := c.Get("/"); err == nil && a.Code != 404 {
		t.Errorf("without a rule: got %d %q, want no answer or 404", a.Code, a.Body)
	}
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: shop-host}
spec:
  hosts: [shop.example.com]
  gateways: [bookshop]
  http:
  - match: [{uri: {prefix: /productpage}}]
    route: [{destination: {host: productpage}}]
`)
	c.Await(t, "the host and path answer", hasCode(200), "/productpage", "Host: shop.example.com")
	for _, tc := range [][2]string{{"/productpage", "other.example.com"}, {"/else", "shop.example.com"}} {
		if a := c.Must(t, tc[0], "Host: "+tc[1]); a.Code != 404 {
			t.Errorf("%s on %s: got %d, want 404", tc[0], tc[1], a.Code)
		}
	}
}

// Row 14: registry only blocks, a ServiceEntry opens.
func TestEgress(t *testing.T) {
	m := shared.Mesh(t)
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // a connection that was let pass may be kept
		fmt.Fprint(w, "outside "+r.Host)
	}))
	defer outside.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(outside.URL, "http://"), ":")
	host := m.Machine()
	direct := "http://" + host + ":" + port + "/"
	c := m.From(t, "productpage-v1-0")
	c.Await(t, "allow any lets it pass", hasCode(200), direct)
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["*/*"]}]
`)
	c.Await(t, "registry only blocks it", hasCode(502), direct)
	if a := c.Must(t, reviews); a.Code != 200 {
		t.Errorf("the mesh itself must go on: %d %q", a.Code, a.Body)
	}
	m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.outside.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %s}]
  endpoints: [{address: %s}]
`, port, host))
	a := c.Await(t, "the entry opens it", hasCode(200), "http://api.outside.example/")
	if a.Body != "outside api.outside.example" {
		t.Errorf("got %q", a.Body)
	}
	if a := c.Must(t, direct); a.Code != 502 {
		t.Errorf("others stay blocked: got %d", a.Code)
	}
	secureEgress(t, m)
}

// secureEgress: the same over TLS, which a client asks its sidecar to tunnel.
func secureEgress(t *testing.T, m *meshtest.Mesh) {
	outside := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "outside "+r.Host) }))
	defer outside.Close()
	tr := outside.Client().Transport.(*http.Transport).Clone()
	tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: m.Proxy(t, "productpage-v1-0")})
	tr.TLSClientConfig.ServerName = "example.com" // as the test server's certificate has it
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	if res, err := c.Get("https://secure.outside.example/"); err == nil {
		res.Body.Close()
		t.Errorf("an unknown host over TLS answered %s", res.Status)
	}
	m.Apply(t, fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: secure}
spec:
  hosts: [secure.outside.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS, targetPort: %d}]
  endpoints: [{address: %s}]
`, outside.Listener.Addr().(*net.TCPAddr).Port, m.Machine()))
	meshtest.Eventually(t, "the entry opens TLS", func() bool {
		res, err := c.Get("https://secure.outside.example/")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return err == nil && string(b) == "outside secure.outside.example"
	})
}

// Row 21: a Sidecar limits what a proxy knows.
func TestSidecarLimits(t *testing.T) {
	m := shared.Mesh(t)
	clusters := func() string { out, _ := m.Run(t, "", "proxy-config", "clusters", "productpage-v1-0"); return out }
	if all := clusters(); !strings.Contains(all, "ratings.default.svc.cluster.local") {
		t.Fatalf("without a Sidecar all services are known:\n%s", all)
	}
	m.Apply(t, `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["./reviews.default.svc.cluster.local"]}]
`)
	c := m.From(t, "productpage-v1-0")
	c.Await(t, "the unnamed service is out of reach", hasCode(502), "http://details:9080/")
	if a := c.Must(t, reviews); a.Code != 503 && a.Code != 200 {
		t.Errorf("reviews: got %d", a.Code)
	}
	// Clusters go once no route names them any more.
	meshtest.Eventually(t, "only the named service is left", func() bool {
		got := clusters()
		return !strings.Contains(got, "ratings.default") && !strings.Contains(got, "details.default") && strings.Contains(got, "reviews.default")
	})
}
