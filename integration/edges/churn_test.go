package edges

import (
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// TestEverythingChangesUnderLoad: Secrets, servers and hosts of a Gateway, DestinationRules with subsets and every tls mode that fits the
// PeerAuthentication, that mode, Services and their ports, Sidecars, EnvoyFilters, TrafficExtensions and AuthorizationPolicies come, change and go, several at
// once, while requests run through the gateway in plaintext and TLS, and from a sidecar. None fails.
func TestEverythingChangesUnderLoad(t *testing.T) {
	m := meshtest.Start(t, "testdata/churn", meshtest.Options{})
	c := &churn{authority: newAuthority(t, "churn"), rnd: rand.New(rand.NewPCG(2, 7))}
	file := filepath.Join(m.Dir, "churn.yaml")
	put := func() string {
		text := c.next(t)
		meshtest.Replace(t, file, text)
		return text
	}
	put()
	plain, front := m.ViaGateway(), m.From(t, "front-0")
	secure := func(keep bool) func() error {
		tr := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: c.authority.pool(), ServerName: "shop.example.com"}, DisableKeepAlives: !keep, ForceAttemptHTTP2: keep,
		}
		t.Cleanup(tr.CloseIdleConnections)
		return func() error { return askOver(tr, tlsAddress(m)) }
	}
	kept, fresh := secure(true), secure(false)
	sends := map[string]func() error{
		"gateway":               func() error { return fine(plain.Get("/", "Host: shop.example.com")) },
		"gateway, TLS, kept":    kept,
		"gateway, TLS, not":     fresh,
		"sidecar, named port":   func() error { return fine(front.Get("http://back:9080/")) },
		"sidecar, another port": func() error { return fine(front.Get("http://back:9090/")) },
	}
	for what, send := range sends {
		meshtest.Eventually(t, "first answer: "+what, func() bool { return send() == nil })
	}
	m.AwaitGeneration(t, 0)
	l, lasts := startSends(sends), meshtest.For(t, "MIZZEN_CHURN", 20*time.Second)
	steps := 0
	for end := time.Now().Add(lasts); time.Now().Before(end) && !l.failed(); steps++ {
		before := m.Generation(t)
		text := put()
		m.AwaitGeneration(t, before+1)
		l.more(t, 10)
		if l.failed() {
			t.Logf("change %d was:\n%s", steps, text)
		}
	}
	l.end(t)
	if n := rejections(t, m); n != "0" {
		t.Errorf("proxies refused %s times what they were sent", n)
	}
	t.Logf("%d changes, %d requests", steps, l.sent.Load())
	if steps < 5 {
		t.Errorf("only %d changes in %s", steps, lasts)
	}
}

// askOver asks for the shop over TLS.
func askOver(tr *http.Transport, address string) error {
	req, err := http.NewRequest("GET", "https://"+address+"/", nil)
	if err != nil {
		return err
	}
	req.Host = "shop.example.com"
	res, err := tr.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return fine(meshtest.Answer{Code: res.StatusCode, Body: string(body)}, err)
}

func fine(a meshtest.Answer, err error) error {
	if err == nil && a.Code != 200 {
		err = fmt.Errorf("%d %q", a.Code, a.Body)
	}
	return err
}

// sendLoad is requests of several kinds, each by a client of its own, and what failed.
type sendLoad struct {
	sent  atomic.Int64
	mu    sync.Mutex
	wrong []string
	stop  chan struct{}
	wg    sync.WaitGroup
}

func startSends(sends map[string]func() error) *sendLoad {
	l := &sendLoad{stop: make(chan struct{})}
	for what, send := range sends {
		l.wg.Add(1)
		go func() {
			defer l.wg.Done()
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				err := send()
				l.sent.Add(1)
				if err != nil {
					l.mu.Lock()
					l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %v", time.Now().Format(time.StampMilli), what, err))
					l.mu.Unlock()
				}
			}
		}()
	}
	return l
}

func (l *sendLoad) failed() bool { l.mu.Lock(); defer l.mu.Unlock(); return len(l.wrong) > 0 }

// more waits until n more requests have been answered.
func (l *sendLoad) more(t *testing.T, n int64) {
	t.Helper()
	seen := l.sent.Load()
	meshtest.Eventually(t, "traffic", func() bool { return l.sent.Load() >= seen+n })
}

func (l *sendLoad) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	if len(l.wrong) > 0 {
		t.Errorf("%d of %d requests failed, the first:\n%s", len(l.wrong), l.sent.Load(), strings.Join(l.wrong[:min(5, len(l.wrong))], "\n"))
	}
}

// rejections is how many responses proxies refused, of every type; "0" if none.
func rejections(t *testing.T, m *meshtest.Mesh) string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^pilot_total_xds_rejects\{[^}]*\} (\d+)$`).FindAllStringSubmatch(string(m.Pages(t, "/metrics")), -1)
	if len(all) == 0 {
		t.Fatal("the control plane does not count rejections")
	}
	for _, n := range all {
		if n[1] != "0" {
			return n[1]
		}
	}
	return "0"
}

// churn makes one configuration after another. What a request needs is always there.
type churn struct {
	authority *authority
	rnd       *rand.Rand
	step      int
	serial    int // of names that are new
	cert      string
	subsets   string // prefix of their names
}

func (c *churn) coin() bool { return c.rnd.IntN(2) == 0 }

// modes are the server's and the clients' TLS modes, in an order in which each fits the one before: a client still in the earlier one is
// understood.
func modes() [][2]string {
	return [][2]string{
		{"PERMISSIVE", ""}, {"PERMISSIVE", "ISTIO_MUTUAL"}, {"STRICT", "ISTIO_MUTUAL"}, {"STRICT", ""}, {"PERMISSIVE", ""}, {"PERMISSIVE", "DISABLE"},
	}
}

// next is another configuration.
func (c *churn) next(t *testing.T) string {
	mode := modes()[c.step%len(modes())]
	c.step++
	c.serial++
	parts := []string{c.gateway(t), c.destination(mode[1]), c.routes(), fmt.Sprintf(`
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: %s}}
`, mode[0])}
	for _, extra := range []string{c.extraService(), `
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: front}
spec: {workloadSelector: {labels: {app: front}}, egress: [{hosts: ["./*"]}]}
`, `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: everybody}
spec: {action: ALLOW, rules: [{}]}
`, fmt.Sprintf(`
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: mark}
spec:
  selector: {matchLabels: {app: back}}
  lua: {inlineCode: "function envoy_on_response(h) h:headers():add('x-lua', '%d') end"}
`, c.serial), fmt.Sprintf(`
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: mark}
spec:
  workloadSelector: {labels: {app: front}}
  configPatches:
  - applyTo: HTTP_ROUTE
    match: {context: SIDECAR_OUTBOUND}
    patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x-mark, value: "%d"}}]}}
`, c.serial)} {
		if c.coin() {
			parts = append(parts, extra)
		}
	}
	return strings.Join(parts, "---")
}

// gateway has a certificate of a new name every other time, or another one under the name, and servers that come and go.
func (c *churn) gateway(t *testing.T) string {
	if c.cert == "" || c.coin() {
		c.cert = fmt.Sprintf("cert-%d", c.serial)
	}
	more, secret := "", ""
	if c.coin() {
		more = `
  - {port: {number: 443, name: https-more, protocol: HTTPS}, hosts: [more.example.com], tls: {mode: SIMPLE, credentialName: more}}
  - {port: {number: 80, name: http-more, protocol: HTTP}, hosts: [more.example.com]}`
		secret = "\n---\n" + c.authority.secret(t, "more", "more.example.com")
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example.com], tls: {mode: SIMPLE, credentialName: %s}}%s
---
%s%s
`, c.cert, more, c.authority.secret(t, c.cert, "shop.example.com"), secret)
}

// destination has subsets of new names every other time.
func (c *churn) destination(tlsMode string) string {
	if c.subsets == "" || c.coin() {
		c.subsets = fmt.Sprintf("s%d", c.serial)
	}
	policy := fmt.Sprintf("connectionPool: {tcp: {maxConnections: %d}}", 1000+c.rnd.IntN(3))
	if tlsMode != "" {
		policy += ", tls: {mode: " + tlsMode + "}"
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: back}
spec:
  host: back
  trafficPolicy: {%[2]s}
  subsets: [{name: %[1]s-one, labels: {version: v1}}, {name: %[1]s-two, labels: {version: v2}}]
`, c.subsets, policy)
}

// extraService is a Service of the same workloads whose name or port is new, and that nothing leads to yet.
func (c *churn) extraService() string {
	return fmt.Sprintf("\napiVersion: v1\nkind: Service\nmetadata: {name: extra-%d}\nspec: {selector: {app: back}, ports: [{name: http, port: %d, targetPort: 9080}]}\n",
		c.serial, 7000+c.rnd.IntN(3))
}

// routes lead to subsets, to the other port, or to a Service that comes with the route.
func (c *churn) routes() string {
	subsets := fmt.Sprintf("[{destination: {host: back, subset: %[1]s-one, port: {number: 9080}}, weight: 30}, {destination: {host: back, subset: %[1]s-two, port: {number: 9080}}, weight: 70}]", c.subsets)
	to, service := subsets, ""
	switch c.rnd.IntN(4) {
	case 0:
		to = "[{destination: {host: back, port: {number: 9090}}}]"
	case 1:
		to = fmt.Sprintf("[{destination: {host: next-%d, port: {number: 9080}}}]", c.serial)
		service = fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: next-%d}\nspec: {selector: {app: back}, ports: [{name: http, port: 9080}]}\n", c.serial)
	}
	mesh := ""
	if c.coin() {
		mesh = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: back}\nspec: {hosts: [back], http: [{retries: {attempts: 0}, route: " + to + "}]}\n"
	}
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http: [{retries: {attempts: 0}, route: %s}]
%s%s`, to, mesh, service)
}
