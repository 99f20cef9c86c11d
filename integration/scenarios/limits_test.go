package scenarios

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// globalLimits are two limits over the three sidecars of reviews. Per day: nothing comes back during the test.
func globalLimits(requests int) string {
	return fmt.Sprintf(`
apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: reviews}
spec:
  targetRefs: [{kind: Service, name: reviews}]
  limits:
  - name: per-user
    match: [{headers: {x-user: {}}}]
    key: [{header: x-user}]
    requests: %d
    per: day
    scope: global
  - name: strict
    match: [{uri: {prefix: /strict}}]
    requests: 1000
    per: day
    scope: global
    failureMode: deny
`, requests)
}

// limitOf reads the number from x-ratelimit-limit.
func limitOf(a meshtest.Answer) string {
	n, _, _ := strings.Cut(a.Header.Get("x-ratelimit-limit"), ",")
	return n
}

// Row 12, over all replicas: three sidecars let exactly the limit pass together, an edit counts at once, and while the service
// is away each does as the limit says.
func TestGlobalRateLimit(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	inForce := func(n string) {
		t.Helper()
		c.Await(t, n+" is in force", func(meshtest.Answer) bool { return c.Tally(t, 24, limitOf, reviews, "x-user: probe"+n)[n] == 24 }, reviews)
	}
	m.Apply(t, globalLimits(30))
	inForce("30")

	if got := c.Tally(t, 120, code, reviews, "x-user: ann"); got["200"] != 30 || got["429"] != 90 {
		t.Errorf("three sidecars together: %v, want 30 of 120", got)
	}
	if got := c.Tally(t, 30, instance, reviews, "x-user: bob"); len(got) != 3 {
		t.Errorf("the requests were not spread: %v", got)
	}
	m.Apply(t, globalLimits(50))
	inForce("50")
	if got := c.Tally(t, 60, code, reviews, "x-user: bob"); got["200"] != 20 {
		t.Errorf("after 30 became 50: %v, want 20 more", got)
	}
	m.Apply(t, globalLimits(30))
	inForce("30")

	back := withoutLimiter(t, m)
	meshtest.Eventually(t, "a limit that denies does", func() bool {
		got := c.Tally(t, 24, code, "http://reviews:9080/strict")
		return got["503"] == 24
	})
	if got := c.Tally(t, 90, code, reviews, "x-user: cid"); got["200"] != 30 || got["429"] != 60 {
		t.Errorf("each sidecar's share, a third, while the service is away: %v, want 30 of 90", got)
	}
	for _, w := range []string{"reviews-v1-0", "reviews-v2-0", "reviews-v3-0"} {
		if m.Stat(t, w, `ratelimit_service_total.*(error|skipped)`) == 0 {
			t.Errorf("%s does not tell that the service is away", w)
		}
	}
	back()
	meshtest.Eventually(t, "the service is back", func() bool { return c.Tally(t, 24, code, "http://reviews:9080/strict")["200"] == 24 })
	if got := c.Tally(t, 120, code, reviews, "x-user: dan"); got["200"] != 30 || got["429"] != 90 {
		t.Errorf("after it came back: %v, want 30 of 120", got)
	}
}

// The service is killed while requests go on: they get 200 or 429, and nothing else, and it comes back.
func TestRateLimitServiceKilledUnderLoad(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, globalLimits(30))
	c.Await(t, "the limit is in force", func(a meshtest.Answer) bool { return limitOf(a) == "30" }, reviews, "x-user: probe")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[string]int{}
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				got := code(c.Must(t, reviews, fmt.Sprintf("x-user: load-%d-%d", worker, i/40)))
				mu.Lock()
				codes[got]++
				mu.Unlock()
			}
		})
	}
	pid := findLimiter(m)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, "another rate-limit service runs", func() bool { p := findLimiter(m); return p != 0 && p != pid })
	meshtest.Eventually(t, "it is asked", func() bool {
		before := limiterAsked(m)
		return before > 0
	})
	close(stop)
	wg.Wait()
	if codes["200"] == 0 || len(codes) > 2 || len(codes) == 2 && codes["429"] == 0 {
		t.Errorf("answers under load: %v, want 200 and 429 only", codes)
	}
}

// limiterAsked is how many requests the rate-limit service has answered; 0 while it cannot be asked.
func limiterAsked(m *meshtest.Mesh) int {
	return metricOf(m.Ready.RateLimit.HTTP, `mizzen_ratelimit_requests_total\{[^}]*\}`)
}

// findLimiter looks for the child of `mizzen up` that is `mizzen ratelimit`.
func findLimiter(m *meshtest.Mesh) int {
	for pid, args := range children(m.Pid()) {
		if strings.Contains(args, "\x00ratelimit\x00") {
			return pid
		}
	}
	return 0
}

// withoutLimiter kills the rate-limit service and holds its port, so that it cannot come back until back is called.
func withoutLimiter(t *testing.T, m *meshtest.Mesh) (back func()) {
	t.Helper()
	pid := findLimiter(m)
	if pid == 0 {
		t.Fatal("no rate-limit service among the children of mizzen up")
	}
	var l net.Listener
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, "its port is ours", func() bool {
		var err error
		if l, err = net.Listen("tcp", m.Ready.RateLimit.GRPC); err == nil {
			return true
		}
		if pid := findLimiter(m); pid != 0 { // it was quicker
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return false
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	back = sync.OnceFunc(func() {
		_ = l.Close()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the listener does not end")
		}
	})
	t.Cleanup(back)
	return back
}
