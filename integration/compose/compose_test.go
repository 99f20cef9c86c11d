package compose

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// docker-compose.yaml on a real engine: images built, the shop up, the rows of docs/scenarios.md through localhost:8080, crashes
// under load, and nothing left.
func TestCompose(t *testing.T) {
	s := &shop{bin: need(t)}
	s.engine = startEngine(t)
	serveBuilds(t, s.engine)
	makeBases(t, s.engine)
	s.copyConfig(t)
	s.images(t)
	s.connect(t)
	t.Cleanup(func() { s.down(t) })
	begin := time.Now()
	s.up(t)
	t.Logf("docker compose up: healthy in %s", time.Since(begin).Round(100*time.Millisecond))
	for _, row := range []struct {
		name string
		test func(*testing.T)
	}{
		{"2 no rules", s.noRules}, {"2 one workload more", s.oneMore}, {"3 weights", s.weights}, {"4 header canary", s.headerCanary}, {"5 paths", s.paths},
		{"6 missing subset", s.missingSubset}, {"7 mirror", s.mirror}, {"8 faults", s.faults}, {"9 timeout and retries", s.timeoutAndRetries},
		{"12 rate limit", s.rateLimit}, {"19 access log", s.accessLog}, {"mutual TLS", s.mutualTLS},
		{"control plane killed", s.controlPlaneKilled}, {"sidecar killed", s.sidecarKilled},
		{"application restarted", s.applicationRestarted},
	} {
		t.Run(row.name, func(t *testing.T) {
			defer s.restore(t)
			row.test(t)
		})
	}
	t.Run("profile wasm", s.wasm)
	t.Run("profile contrib", s.contrib)
}

// Row 2, scaled: docs/compose.md's way to one workload more, and back.
func (s *shop) oneMore(t *testing.T) {
	const name, address = "catalog-v2-b", "10.89.15.23"
	copied := func(text, from, to string) string { // the part of text from one line to another, once more, as the new workload's
		begin := strings.Index(text, from)
		end := begin + strings.Index(text[begin:], to)
		part := strings.NewReplacer("catalog-v2", name, "10.89.15.22", address).Replace(text[begin:end])
		return text[:end] + part + text[end:]
	}
	whole, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := os.ReadFile(filepath.Join(s.mesh, "mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	before := s.file
	s.file, s.count = filepath.Join(s.engine.dir, "docker-compose.yaml"), proxies+1
	meshtest.Replace(t, s.file, copied(string(whole), "  catalog-v2:\n", "  pricing-v1:\n"))
	s.up(t)
	s.changing(t, func() {
		meshtest.Replace(t, filepath.Join(s.mesh, "mesh.yaml"), copied(string(pods), "apiVersion: v1\nkind: Pod\nmetadata:\n  name: catalog-v2\n", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: pricing-v1\n"))
	})
	const n = 300
	got := s.client.Tally(t, n, version("catalog"), "/")
	wantShare(t, "v2 with two replicas of three", got["v2"], n, 2./3)
	if got["v1"]+got["v2"] != n {
		t.Errorf("only v1 and v2 may answer: %v", got)
	}
	s.changing(t, func() { meshtest.Replace(t, filepath.Join(s.mesh, "mesh.yaml"), string(pods)) })
	s.file, s.count = before, proxies
	s.up(t)
}

// load sends requests until it is stopped, which returns what did not succeed, and how many were sent.
func (s *shop) load() (stop func() (failed map[string]int, sent int)) {
	end, done := make(chan struct{}), make(chan struct{})
	failed, sent := map[string]int{}, 0
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
			}
			sent++
			if a, err := s.client.Get("/"); err != nil {
				failed[err.Error()]++
			} else if a.Code != 200 {
				failed[fmt.Sprint(a.Code, " ", a.Body)]++
			}
		}
	}()
	return func() (map[string]int, int) {
		close(end)
		<-done
		return failed, sent
	}
}

// The control plane's container is killed and comes back: no request fails, and then an edit counts again.
func (s *shop) controlPlaneKilled(t *testing.T) {
	stop := s.load()
	s.kill(t, "controlplane")
	for range 100 { // traffic without a control plane
		if a, err := s.client.Get("/"); err != nil || a.Code != 200 {
			t.Errorf("without a control plane: %d %v", a.Code, err)
		}
	}
	s.up(t)
	meshtest.Eventually(t, "every proxy is back", func() bool { _, synced := s.generation(t); return synced })
	if failed, sent := stop(); len(failed) > 0 {
		t.Errorf("of %d requests failed: %v", sent, failed)
	}
	s.edit(t, "after.yaml", catalogTo("  - route: [{destination: {host: catalog, subset: v2}}]\n"))
	if got := s.client.Tally(t, 50, version("catalog"), "/"); got["v2"] != 50 {
		t.Errorf("an edit after the restart: %v, want v2", got)
	}
}

// One of two replicas loses its sidecar: nobody tells the control plane, but outlier detection finds it, and the other takes its
// traffic. The first is back once the sidecar is.
func (s *shop) sidecarKilled(t *testing.T) {
	s.edit(t, "outliers.yaml", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: catalog}
spec:
  host: catalog
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 1, interval: 1s, baseEjectionTime: 5s, maxEjectionPercent: 50}
`)
	stop := s.load()
	s.kill(t, "catalog-v2-proxy")
	s.client.Await(t, "a failed request, or v1", func(a meshtest.Answer) bool { return is("catalog", "v1")(a) || a.Code == 503 }, "/")
	got := s.client.Tally(t, 200, version("catalog"), "/")
	failed, sent := stop()
	// Those fail that were on their way, or came before it was ejected, and met it thrice.
	if got["v2"] > 0 || got["v1"] < 180 || sum(failed) > 2+sent/10 {
		t.Errorf("with one replica: %v, and of %d requests failed %v; want v1 for nearly all", got, sent, failed)
	}
	s.up(t)
	s.client.Await(t, "v2 is back", is("catalog", "v2"), "/")
	s.restore(t) // the endpoint counts anew
	stop = s.load()
	s.noRules(t)
	if failed, sent := stop(); len(failed) > 0 {
		t.Errorf("of %d requests failed: %v", sent, failed)
	}
}

// An application's container that is started again has another network: docker compose starts its sidecar again, in that.
func (s *shop) applicationRestarted(t *testing.T) {
	before := s.startedAt(t, "catalog-v2-proxy")
	s.kill(t, "catalog-v2")
	s.run(t, "restart", "catalog-v2")
	if after := s.startedAt(t, "catalog-v2-proxy"); after == before {
		t.Errorf("the sidecar has run since %s, in a network that is no more", before)
	}
	meshtest.Eventually(t, "every proxy is back", func() bool { _, synced := s.generation(t); return synced })
	s.client.Await(t, "v2 is back", is("catalog", "v2"), "/")
	s.mutualTLS(t)
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// down takes the shop down, and tells what is left on the engine.
func (s *shop) down(t *testing.T) {
	if t.Failed() {
		t.Logf("docker compose ps:\n%s", s.run(t, "ps", "-a"))
		for _, service := range []string{"controlplane", "gateway", "storefront-v1-proxy", "storefront-v1-init", "ratelimit"} {
			t.Logf("%s wrote:\n%s", service, lastLines(s.logs(t, service), 20))
		}
	}
	s.run(t, "--profile", "wasm", "--profile", "contrib", "down", "--volumes", "--timeout", "5")
	var containers []struct{ Names []string }
	var networks []struct{ Name string }
	var volumes struct{ Volumes []struct{ Name string } }
	for path, into := range map[string]any{"/containers/json?all=1": &containers, "/networks": &networks, "/volumes": &volumes} {
		if err := s.do(context.Background(), "GET", path, nil, into); err != nil {
			t.Error(err)
		}
	}
	if len(containers)+len(volumes.Volumes) > 0 || len(networks) != 3 { // bridge, host, none
		t.Errorf("left on the engine: containers %v, networks %v, volumes %v", containers, networks, volumes.Volumes)
	}
	rules, err := exec.Command("nsenter", "-t", fmt.Sprint(s.pid), "-n", "iptables-save").CombinedOutput()
	if err != nil || strings.Contains(string(rules), "10.89.15") {
		t.Errorf("rules are left (%v):\n%s", err, rules)
	}
}
