package identity

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// TestRotationUnderLoad: certificates of 12 s and roots of 40 s change while requests run, on kept connections and on new ones,
// between workloads that take nothing but mesh TLS. None fails.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes 40 s")
	}
	m := meshtest.Start(t, "testdata/mesh", meshtest.Options{Args: []string{"--cert-ttl", "12s", "--root-ttl", "40s"}})
	m.Apply(t, policy("STRICT")+"---\n"+oneRequestEach)
	c := m.From(t, client)
	c.Await(t, "the mesh is strict and works", func(a meshtest.Answer) bool { return a.Code == 200 }, reviews)
	lasts := meshtest.For(t, "MIZZEN_ROTATION", 40*time.Second)
	var sent, failed atomic.Int64
	var first sync.Once
	var wg sync.WaitGroup
	for end, i := time.Now().Add(lasts), 0; i < 4; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) {
				a, err := c.Get(reviews)
				if sent.Add(1); err != nil || a.Code != 200 {
					failed.Add(1)
					first.Do(func() { t.Errorf("request %d: %d %s %v", sent.Load(), a.Code, a.Body, err) })
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
	}
	certs, roots := map[string]bool{}, map[string]bool{}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for tick := time.NewTicker(time.Second); ; {
		out, _ := m.Run(t, "", "proxy-config", "secrets", "reviews-0")
		for _, line := range strings.Split(out, "\n") {
			if f := strings.Fields(line); len(f) > 5 && f[0] == "default" {
				certs[f[len(f)-3]] = true
			}
		}
		if raw, err := os.ReadFile(filepath.Join(m.Ready.State, "ca", "root-cert.pem")); err == nil {
			roots[string(raw)] = true
		}
		select {
		case <-done:
			tick.Stop()
		case <-tick.C:
			continue
		}
		break
	}
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	// Of a life of 12 s at most 60 % pass before the next.
	if want := int(lasts / (9 * time.Second)); len(certs) < want {
		t.Errorf("%d certificates were seen, want %d or more", len(certs), want)
	}
	if len(roots) < 2 {
		t.Errorf("the trust bundle did not change in %s", lasts)
	}
	t.Logf("%s requests, %d certificates, %d trust bundles", strconv.FormatInt(sent.Load(), 10), len(certs), len(roots))
}

// oneRequestEach makes the client's sidecar shake hands anew for every few requests.
const oneRequestEach = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 3}}}}
`
