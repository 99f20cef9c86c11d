package ratelimit

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	service "github.com/mizzen-mesh/mizzen/controlplane/ratelimit"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/ratelimit/redistest"
)

// patient: what is tested is the count, not this machine's speed.
const patient = `"timeout": "5s"`

// Several proxies share one limit, and exactly its quota passes: every request that passes is counted by one store
// before it passes. What may exceed it is only what is let pass while the service or Redis is away.
func TestProxiesShareALimit(t *testing.T) {
	envoytest.Find(t)
	t.Run("memory, one service", func(t *testing.T) {
		s := serve(t, "", service.Options{})
		a, b := mizzenProxy(t, s.addr, patient), mizzenProxy(t, s.addr, patient)
		share(t, a, b)
		if cached := a.Stats(t, "ratelimit_service_total"); len(cached) == 0 {
			t.Error("the proxy does not tell what came of its asks")
		}
	})
	t.Run("redis, a service for each proxy", func(t *testing.T) {
		r := service.RedisOptions{Addrs: []string{redistest.Start(t).Addr}, Timeout: 2 * time.Second}
		one, two := serve(t, "", service.Options{Redis: r}), serve(t, "", service.Options{Redis: r})
		share(t, mizzenProxy(t, one.addr, patient), mizzenProxy(t, two.addr, patient))
		if calls := one.metric(t, "store_calls_total") + two.metric(t, "store_calls_total"); calls > 400 {
			t.Errorf("%v calls of Redis for 200 requests of two limits", calls)
		}
	})
}

func share(t *testing.T, proxies ...*envoytest.Envoy) {
	t.Helper()
	for _, user := range []string{"ann", "bob"} {
		if got := passed(t, 100, user, proxies...); got[200] != 40 || got[429] != 160 {
			t.Errorf("answers to %s: %v, want 40 times 200 and 160 times 429", user, got)
		}
	}
}

func TestWhatAClientSees(t *testing.T) {
	s := serve(t, "", service.Options{})
	p := mizzenProxy(t, s.addr, patient)
	a := p.Get(t, ingress, "/", "x-user: ann")
	if a.Status != 200 || a.Header.Get("x-ratelimit-limit") != "40, 40;w=3600" || a.Header.Get("x-ratelimit-remaining") != "39" ||
		a.Header.Get("x-ratelimit-reset") != "90" {
		t.Errorf("passed: %d %v", a.Status, a.Header)
	}
	passed(t, 44, "ann", p)
	a = p.Get(t, ingress, "/", "x-user: ann")
	if wait, _ := strconv.Atoi(a.Header.Get("retry-after")); a.Status != 429 || wait < 60 || wait > 90 || a.Header.Get("x-ratelimit-remaining") != "0" {
		t.Errorf("refused: %d %v", a.Status, a.Header)
	}
	before := s.metric(t, `requests_total{code="OVER_LIMIT"}`)
	passed(t, 40, "ann", p)
	if after := s.metric(t, `requests_total{code="OVER_LIMIT"}`); after != before {
		t.Errorf("the service was asked %v times for a key that is known to be refused", after-before)
	}
	// A local limit that refuses spares the service.
	for i, want := range []int{200, 200, 429} {
		if a := p.Get(t, ingress, "/here", "x-user: eve"); a.Status != want {
			t.Errorf("local limit, request %d: %d, want %d", i, a.Status, want)
		}
	}
	if n := s.metric(t, `decisions_total{limit="shop/front/watched",result="shadow_limited"}`); n < 40 {
		t.Errorf("%v shadow refusals counted by the service", n)
	}
	stats := fmt.Sprint(p.Stats(t, "ratelimit_requests_total"))
	for _, want := range []string{"shadow_limited", "global", "limited"} {
		if !strings.Contains(stats, want) {
			t.Errorf("the proxy's stats do not say %q: %s", want, stats)
		}
	}
	ar := p.DoHTTP2(t, envoytest.NewRequest(t, http.MethodPost, "http://"+p.Addr(ingress)+"/a.B/C", "", "x-user: ann", "content-type: application/grpc"))
	if ar.Status != 200 || ar.Header.Get("grpc-status") != "8" {
		t.Errorf("gRPC: %d %v", ar.Status, ar.Header)
	}
}

// The service is away: each proxy does as it is configured, and asks again when it is back.
func TestServiceAway(t *testing.T) {
	for _, c := range []struct {
		onError string
		more    string
		want    map[int]int
	}{
		{"local", `, "onError": "local", "localShare": 0.5`, map[int]int{200: 20, 429: 20}},
		{"allow", `, "onError": "allow"`, map[int]int{200: 40}},
		{"deny", `, "onError": "deny"`, map[int]int{503: 40}},
	} {
		t.Run(c.onError, func(t *testing.T) {
			t.Parallel()
			addr := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
			p := mizzenProxy(t, addr, patient+c.more)
			if got := passed(t, 40, "ann", p); got[200] != c.want[200] || got[429] != c.want[429] || got[503] != c.want[503] {
				t.Errorf("while the service was away: %v, want %v", got, c.want)
			}
			stats := fmt.Sprint(p.Stats(t, "ratelimit_service_total"))
			if !strings.Contains(stats, "error") || !strings.Contains(stats, "skipped") {
				t.Errorf("the proxy does not tell that the service is away: %s", stats)
			}
			s := serve(t, addr, service.Options{})
			envoytest.Await(t, 15*time.Second, "the proxy asks again", func() bool {
				p.Get(t, ingress, "/", "x-user: eve")
				return s.metric(t, `requests_total{code="OK"}`) > 0
			})
			if got := passed(t, 80, "bob", p); got[200] != 40 || got[429] != 40 {
				t.Errorf("after it came back: %v, want 40 times 200 and 40 times 429", got)
			}
			s.stop()
			if got := passed(t, 4, "cid", p); c.onError == "deny" && got[503] != 4 || c.onError != "deny" && got[200] != 4 {
				t.Errorf("after it went away again: %v", got)
			}
		})
	}
}

// A service that hangs costs a request the timeout, at most.
func TestServiceHangs(t *testing.T) {
	hang := make(chan struct{})
	up := envoytest.NewUpstream(t, "hangs", func(http.ResponseWriter, *http.Request) { <-hang })
	defer close(hang)
	p := mizzenProxy(t, up.Addr, `"timeout": "50ms", "onError": "deny"`)
	a := p.Get(t, ingress, "/", "x-user: ann")
	if a.Status != 503 || a.Took > 5*time.Second {
		t.Errorf("%d after %v", a.Status, a.Took)
	}
	passed(t, 40, "ann", p)
	if n := up.Requests(); n > 20 {
		t.Errorf("a service that hangs was asked %d times by 41 requests", n)
	}
}

// Envoy's own rate-limit filter asks the same service for the same limits.
func TestNativeFilter(t *testing.T) {
	s := serve(t, "", service.Options{})
	p := proxy(t, s.addr, `{name: envoy.filters.http.ratelimit, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit,
            domain: mizzen, failure_mode_deny: true, timeout: 5s, enable_x_ratelimit_headers: DRAFT_VERSION_03,
            rate_limit_service: {transport_api_version: V3, grpc_service: {envoy_grpc: {cluster_name: ratelimit}}}}}`,
		`route:
                  cluster: backend
                  rate_limits:
                  - actions:
                    - generic_key: {descriptor_key: limit, descriptor_value: shop/front/per-user}
                    - request_headers: {header_name: x-user, descriptor_key: key}
                  - actions:
                    - generic_key: {descriptor_key: limit, descriptor_value: shop/front/watched}`,
		envoytest.NewUpstream(t, "backend").Addr, "-")
	a := p.Get(t, ingress, "/", "x-user: ann")
	if a.Status != 200 || a.Header.Get("x-ratelimit-remaining") != "39" || !strings.HasPrefix(a.Header.Get("x-ratelimit-limit"), "40, 40;w=3600") {
		t.Errorf("passed: %d %v", a.Status, a.Header)
	}
	if got := passed(t, 80, "ann", p); got[200] != 39 || got[429] != 41 {
		t.Errorf("answers %v, want 39 times 200 and 41 times 429", got)
	}
	a = p.Get(t, ingress, "/", "x-user: ann")
	if wait, _ := strconv.Atoi(a.Header.Get("retry-after")); a.Status != 429 || wait < 60 || wait > 90 {
		t.Errorf("refused: %d %v", a.Status, a.Header)
	}
	if a := p.Get(t, ingress, "/", "x-user: bob"); a.Status != 200 {
		t.Errorf("another user: %d", a.Status)
	}
}

// Redis is killed under load and comes back: clients notice nothing but the count.
func TestRedisKilledUnderTraffic(t *testing.T) {
	r := redistest.Start(t)
	s := serve(t, "", service.Options{Redis: service.RedisOptions{Addrs: []string{r.Addr}, Timeout: time.Second}})
	p := mizzenProxy(t, s.addr, patient)
	if got := passed(t, 80, "before", p); got[200] != 40 {
		t.Errorf("before: %v", got)
	}
	r.Kill()
	if got := passed(t, 80, "during", p); got[200] != 40 || got[429] != 40 {
		t.Errorf("while Redis is away, the service counts: %v", got)
	}
	r.Restart(t)
	envoytest.Await(t, 10*time.Second, "Redis is back", func() bool { return s.metric(t, "store_up") == 1 })
	if got := passed(t, 80, "after", p); got[200] != 40 {
		t.Errorf("after: %v", got)
	}
}
