package agent

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // the pods of all worlds, which wait more than they compute
	os.Exit(m.Run())
}

// TestPods: one mesh of pods for all that is asked of it, and smaller ones for pods with other addresses; side by side.
func TestPods(t *testing.T) {
	netnstest.Need(t, "curl", "iptables-nft", "iptables-legacy", "nft")
	envoytest.Find(t)
	binary := build(t)
	t.Run("IPv4", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, binary, mesh.IPv4)
		for _, backend := range []string{"iptables-legacy", "nft", "iptables-nft"} {
			t.Run(backend, func(t *testing.T) { w.intercepted(t, backend) })
		}
		w.each(t, []step{
			{"read-only root", w.readOnly}, {"probes", w.probes}, {"metrics", w.metrics}, {"no rules", w.noRules}, {"subsets", w.subsets}, {"header canary", w.headerCanary},
			{"ingress", w.ingress}, {"egress", w.egress}, {"names", w.names}, {"mutual TLS", w.mutualTLS}, {"protocols", w.protocols},
			{"without the control plane", w.alone}, {"ends politely", w.politely},
		})
		for _, s := range []step{{"ends when idle", w.idle}, {"ends when asked to", w.asked}} { // each another pod
			t.Run(s.name, func(t *testing.T) { t.Parallel(); s.run(t) })
		}
	})
	t.Run("IPv6", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, binary, mesh.IPv6)
		for _, backend := range []string{"iptables-legacy", "nft", "iptables-nft"} {
			t.Run(backend, func(t *testing.T) { w.intercepted(t, backend) })
		}
		w.each(t, []step{{"probes", w.probes}, {"ingress", w.ingress}, {"egress", w.egress}, {"names", w.names}, {"mutual TLS", w.mutualTLS}, {"protocols", w.protocols}})
	})
	t.Run("dual stack", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, binary, mesh.DualStack, "customer-v1", "preference-v1", "recommendation-v1", "istio-ingressgateway")
		for backend, six := range map[string]bool{"nft": false, "iptables-nft": true} {
			w.six = six
			t.Run(backend, func(t *testing.T) { w.intercepted(t, backend) })
			w.each(t, []step{{"probes", w.probes}, {"ingress", w.ingress}, {"names", w.names}, {"protocols", w.protocols}})
		}
	})
}

type step struct {
	name string
	run  func(*testing.T)
}

func (w *world) each(t *testing.T, steps []step) {
	for _, s := range steps {
		t.Run(s.name, s.run)
	}
}

// answer is what a stand-in saw of a request.
type answer struct {
	Service, Version, Path, Host string
	Headers                      map[string][]string
}

// seen sends a request, and returns what the application saw.
func (p *pod) seen(t *testing.T, url string, args ...string) answer {
	t.Helper()
	var a answer
	body, code := p.curl(append([]string{"-H", "Accept: application/json", url}, args...)...)
	if code != 200 || json.Unmarshal([]byte(body), &a) != nil {
		t.Fatalf("%s from %s: status %d, %s", url, p.manifest.Name, code, body)
	}
	return a
}

// proxied tells whether a request came through a proxy: each adds an id.
func (a answer) proxied() bool { return len(a.Headers["x-request-id"]) > 0 }

// stats of the pod's Envoy: the sum of those that fit.
func (p *pod) stats(t *testing.T, filter string) (sum int64) {
	t.Helper()
	body, code := p.curl("-G", "http://127.0.0.1:15000/stats", "--data-urlencode", "format=json", "--data-urlencode", "filter="+filter)
	var s struct {
		Stats []struct {
			Value int64 `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal([]byte(body), &s); code != 200 || err != nil {
		t.Fatalf("statistics of %s: status %d, %v", p.manifest.Name, code, err)
	}
	for _, x := range s.Stats {
		sum += x.Value
	}
	return sum
}

// intercepted: by a backend's rules, traffic goes through the sidecars, but for what is excluded.
func (w *world) intercepted(t *testing.T, backend string) {
	for _, p := range w.pods {
		if p.manifest.Namespace != "default" {
			continue
		}
		for _, other := range []string{"iptables-nft", "iptables-legacy", "nft"} {
			p.rules(t, other, "--cleanup")
		}
		p.rules(t, backend)
		p.rules(t, backend) // as after a restart of the node
	}
	customer, preference, outside := w.pods["customer-v1"], w.pods["preference-v1"], w.client
	before := preference.stats(t, `^listener\..*_1500[16]\.downstream_cx_total$`) + preference.stats(t, `^listener\.virtual.*\.downstream_cx_total$`)
	// The first hop is a pod that calls the service that it is behind itself. Names come from DNS.
	envoytest.Await(t, 30*time.Second, "the chain answers", func() bool {
		body, code := customer.curl("http://customer:8080/")
		return code == 200 && strings.HasPrefix(body, "customer v1 (customer-v1-0) => preference v1 (preference-v1-0) => recommendation v")
	})
	a := customer.seen(t, "http://preference:8080/")
	if !a.proxied() || !strings.Contains(strings.Join(a.Headers["x-forwarded-client-cert"], ""), "spiffe://cluster.local/ns/default/sa/customer") {
		t.Errorf("the application saw %v, want an id and the caller's identity", a.Headers)
	}
	if n := preference.stats(t, `^cluster\.inbound\|8080.*upstream_rq_completed$`); n == 0 {
		t.Error("the server's sidecar has seen no request")
	}
	if a := outside.seen(t, w.web("10.88.0.12", 8080)); !a.proxied() {
		t.Error("what comes from outside of the mesh does not go through the sidecar")
	}
	loopback := "http://127.0.0.1:8080/"
	if w.six {
		loopback = "http://[::1]:8080/"
	}
	for what, a := range map[string]answer{
		"excluded inbound port":  outside.seen(t, w.web("10.88.0.12", 7777)),
		"excluded outbound port": customer.seen(t, w.web("10.88.0.20", 7778)),
		"excluded range":         customer.seen(t, w.web("10.88.0.21", 8080)),
		"loopback":               customer.seen(t, loopback),
		"the pod's own address":  customer.seen(t, w.web("10.88.0.11", 8080)),
	} {
		if a.proxied() {
			t.Errorf("%s: it went through a proxy: %v", what, a.Headers)
		}
	}
	if a := customer.seen(t, w.web("10.88.0.20", 8080)); !a.proxied() {
		t.Error("an address that no service has does not go through the sidecar")
	}
	after := preference.stats(t, `^listener\..*_1500[16]\.downstream_cx_total$`) + preference.stats(t, `^listener\.virtual.*\.downstream_cx_total$`)
	if after-before > 100 {
		t.Errorf("%d connections at preference's proxy for a few requests: they go in circles", after-before)
	}
}

// probes: kubelet's questions reach the application, through the agent, and tell what is.
func (w *world) probes(t *testing.T) {
	preference := w.pods["preference-v1"]
	for _, c := range preference.manifest.Spec.Containers {
		want := 200
		if c.Name == "failing" { // asks for a port where nobody is
			want = 500
		}
		for i, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
			if p == nil {
				continue
			}
			if got := preference.probe(p); got != want {
				t.Errorf("probe %d of container %s: status %d, want %d: %v", i, c.Name, got, want, p)
			}
		}
	}
	for path, want := range map[string]int{"/app-health/app/readyz": 200, "/app-health/other/readyz": 404, "/healthz/ready": 200, "/quitquitquit": 403, "/drain": 403} {
		if got := w.status(preference.url(15020, path)); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
}

// metrics: Envoy's, the agent's and the application's in one answer.
func (w *world) metrics(t *testing.T) {
	preference := w.pods["preference-v1"]
	merged := w.page(t, preference.url(15020, "/stats/prometheus"))
	for _, want := range []string{"envoy_server_live", "istio_agent_cert_expiry_seconds{resource_name=\"default\"} 3", "preference v1 (preference-v1-0)", "mizzen_agent_control_plane_connected 1"} {
		if !strings.Contains(merged, want) {
			t.Errorf("no %s in the merged metrics", want)
		}
	}
	if envoy := w.page(t, preference.url(15090, "/stats/prometheus")); !strings.Contains(envoy, "envoy_server_live") {
		t.Error("no metrics of Envoy on 15090")
	}
}

// page is what the node gets from a URL.
func (w *world) page(t *testing.T, url string) string {
	t.Helper()
	resp, err := w.net.Node.Client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(b)
}

// versions sends requests from customer to recommendation and counts who answers.
func (w *world) versions(t *testing.T, n int, args ...string) map[string]int {
	t.Helper()
	out := map[string]int{}
	var urls []string
	for range n {
		urls = append(urls, "http://recommendation:8080/")
	}
	body, _ := w.pods["customer-v1"].curl(append(args, urls...)...)
	for _, l := range strings.Split(body, "\n") {
		if f := strings.Fields(l); len(f) > 2 && f[0] == "recommendation" {
			out[f[1]]++
		}
	}
	return out
}

// noRules: two versions behind one service share its requests.
func (w *world) noRules(t *testing.T) {
	// 100 draws at a half: 50 +- 5; six sigma.
	if got := w.versions(t, 100); got["v1"] < 20 || got["v2"] < 20 || got["v1"]+got["v2"] != 100 {
		t.Errorf("100 requests: %v", got)
	}
}

const subsets = `
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: recommendation, namespace: default}
spec:
  host: recommendation
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: recommendation, namespace: default}
spec:
  hosts: [recommendation]
  http:
`

// subsets: all to one version, then to the other, then shares, then none of it.
func (w *world) subsets(t *testing.T) {
	route := func(v1, v2 int) string {
		return subsets + fmt.Sprintf("  - route: [{destination: {host: recommendation, subset: v1}, weight: %d}, {destination: {host: recommendation, subset: v2}, weight: %d}]\n", v1, v2)
	}
	for _, c := range []struct{ v1, v2 int }{{0, 100}, {100, 0}, {90, 10}} {
		w.only(t, route(c.v1, c.v2))
		if c.v1 == 90 {
			envoytest.Await(t, 30*time.Second, "both versions", func() bool { return len(w.versions(t, 40)) == 2 })
			// 300 draws at 10 %: 30 +- 5.2; six sigma.
			if got := w.versions(t, 300); got["v2"] < 1 || got["v2"] > 61 || got["v1"]+got["v2"] != 300 {
				t.Errorf("of 300 requests at 90:10: %v", got)
			}
			continue
		}
		envoytest.Await(t, 30*time.Second, fmt.Sprintf("only one version at %d:%d", c.v1, c.v2), func() bool {
			got := w.versions(t, 10)
			return got["v1"] == c.v1/10 && got["v2"] == c.v2/10
		})
	}
	w.only(t, "")
	envoytest.Await(t, 30*time.Second, "equal shares again", func() bool { got := w.versions(t, 40); return got["v1"] >= 8 && got["v2"] >= 8 })
}

// headerCanary: who comes with a browser's name reaches the canary, through every hop that forwards it.
func (w *world) headerCanary(t *testing.T) {
	w.only(t, subsets+`
  - match: [{headers: {baggage-user-agent: {regex: ".*Safari.*"}}}]
    route: [{destination: {host: recommendation, subset: v2}}]
  - route: [{destination: {host: recommendation, subset: v1}}]
`)
	customer := w.pods["customer-v1"]
	envoytest.Await(t, 30*time.Second, "others get v1", func() bool { return w.versions(t, 10)["v1"] == 10 })
	for agent, want := range map[string]string{"Safari": "recommendation v2", "Firefox": "recommendation v1"} {
		for range 5 {
			body, code := customer.curl("-A", agent, "http://customer:8080/")
			if code != 200 || !strings.Contains(body, want) {
				t.Errorf("as %s: status %d, %s", agent, code, body)
			}
		}
	}
}
