package scenarios

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 7: the mirror gets copies and its answers are dropped.
func TestMirror(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, reviewsTo(`
  - route: [{destination: {host: reviews, subset: v2}}]
    mirror: {host: reviews, subset: v3}
`))
	c.Await(t, "live traffic to v2", isVersion("v2"), reviews)
	const inbound = `^http\.inbound.*downstream_rq_2xx$`
	before := m.Stat(t, "reviews-v3-0", inbound)
	const n = 200
	if got := c.Tally(t, n, version, reviews); got["v2"] != n {
		t.Errorf("live answers come from v2 only: %v", got)
	}
	meshtest.Eventually(t, "every copy arrives", func() bool { return m.Stat(t, "reviews-v3-0", inbound)-before >= n })
	if extra := m.Stat(t, "reviews-v3-0", inbound) - before - n; extra > 2 {
		t.Errorf("%d copies too many", extra)
	}
}

// Row 8: delays and aborts, on the matched route only, in today's YAML and the tutorials'.
func TestFaults(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	for name, percent := range map[string]string{"today": "percentage: {value: 100}", "tutorial": "percent: 100"} {
		t.Run("delay/"+name, func(t *testing.T) {
			m.Apply(t, reviewsTo(`
  - match: [{headers: {x-dev-user: {exact: jason}}}]
    fault: {delay: {fixedDelay: 2s, `+percent+`}}
    route: [{destination: {host: reviews, subset: v1}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`))
			slow := func(a meshtest.Answer) bool {
				ms, _ := strconv.Atoi(a.Header.Get("x-envoy-upstream-service-time"))
				return a.Code == 200 && ms < 1000
			}
			start := time.Now()
			c.Await(t, "the delayed answer", slow, reviews, "x-dev-user: jason")
			start2 := time.Now()
			c.Must(t, reviews, "x-dev-user: jason")
			if d := time.Since(start2); d < 2*time.Second {
				t.Errorf("delayed by %v, want 2s (first took %v)", d, start2.Sub(start))
			}
			start = time.Now()
			for range 50 {
				c.Must(t, reviews)
			}
			if d := time.Since(start); d > 50*time.Second {
				t.Errorf("the other route is delayed too: 50 requests took %v", d)
			}
		})
	}
	for name, percent := range map[string]string{"today": "percentage: {value: 20}", "tutorial": "percent: 20"} {
		t.Run("abort/"+name, func(t *testing.T) {
			m.Apply(t, reviewsTo(`
  - match: [{headers: {x-dev-user: {exact: jason}}}]
    fault: {abort: {httpStatus: 503, `+percent+`}}
    route: [{destination: {host: reviews, subset: v1}}]
  - route: [{destination: {host: reviews, subset: v1}}]
`))
			c.Await(t, "an abort", hasCode(503), reviews, "x-dev-user: jason")
			const n = 1500
			got := c.Tally(t, n, code, reviews, "x-dev-user: jason")
			wantShare(t, "503", got["503"], n, 0.2)
			if got := c.Tally(t, 300, code, reviews); got["200"] != 300 {
				t.Errorf("the other route is hit too: %v", got)
			}
		})
	}
}

// Row 9: timeouts and retries.
func TestTimeoutAndRetries(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "reviews-v1-0")
	const ratings = "http://ratings:9080/"
	vs := func(http string) string {
		return "apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: ratings}\nspec:\n  hosts: [ratings]\n  http:\n" + http
	}
	t.Run("timeout", func(t *testing.T) {
		m.Apply(t, vs("  - timeout: 1s\n    route: [{destination: {host: ratings}}]\n"))
		c.Await(t, "504", hasCode(504), ratings, "slow: 5s")
		if a := c.Must(t, ratings, "slow: 100ms"); a.Code != 200 {
			t.Errorf("a quick answer: got %d", a.Code)
		}
	})
	const n = 1500
	t.Run("retries on 5xx", func(t *testing.T) {
		m.Apply(t, vs("  - retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx}\n    route: [{destination: {host: ratings}}]\n"))
		c.Await(t, "settled", func(meshtest.Answer) bool {
			return c.Tally(t, 40, code, ratings, "fail: 0.3")["500"] < 4
		}, ratings)
		got := c.Tally(t, n, code, ratings, "fail: 0.3")
		wantShare(t, "500 after three retries", got["500"], n, 0.3*0.3*0.3*0.3)
	})
	t.Run("no retryOn, no retry of an answer", func(t *testing.T) {
		m.Apply(t, vs("  - retries: {attempts: 3, perTryTimeout: 2s}\n    route: [{destination: {host: ratings}}]\n"))
		c.Await(t, "settled", func(meshtest.Answer) bool {
			return c.Tally(t, 40, code, ratings, "fail: 0.3")["500"] > 4
		}, ratings)
		got := c.Tally(t, n, code, ratings, "fail: 0.3")
		wantShare(t, "500", got["500"], n, 0.3)
	})
}

// Row 11: load balancing and affinity.
func TestLoadBalancing(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	dr := func(lb string) string {
		return "apiVersion: networking.istio.io/v1alpha3\nkind: DestinationRule\nmetadata: {name: reviews}\nspec: {host: reviews, trafficPolicy: {loadBalancer: " + lb + "}}\n"
	}
	const n = 900
	for _, lb := range []string{"RANDOM", "ROUND_ROBIN", "LEAST_CONN"} {
		t.Run(lb, func(t *testing.T) {
			m.Apply(t, dr("{simple: "+lb+"}"))
			got := c.Tally(t, n, version, reviews)
			for _, v := range []string{"v1", "v2", "v3"} {
				wantShare(t, v, got[v], n, 1./3)
			}
		})
	}
	affinity := map[string]struct{ lb, header string }{
		"header": {`{consistentHash: {httpHeaderName: x-user}}`, "x-user: u%d"},
		"cookie": {`{consistentHash: {httpCookie: {name: user, ttl: 0s}}}`, "cookie: user=u%d"},
	}
	for name, tc := range affinity {
		t.Run("affinity by "+name, func(t *testing.T) {
			m.Apply(t, dr(tc.lb))
			c.Await(t, "settled", func(meshtest.Answer) bool {
				return len(c.Tally(t, 30, instance, reviews, fmt.Sprintf(tc.header, 0))) == 1
			}, reviews)
			seen := map[string]bool{}
			for u := range 30 {
				got := c.Tally(t, 10, instance, reviews, fmt.Sprintf(tc.header, u))
				if len(got) != 1 {
					t.Errorf("user %d was spread: %v", u, got)
				}
				for k := range got {
					seen[k] = true
				}
			}
			if len(seen) < 3 {
				t.Errorf("30 users share %v: want all three endpoints in use", seen)
			}
		})
	}
	t.Run("affinity by source", func(t *testing.T) {
		m.Apply(t, dr(`{consistentHash: {useSourceIp: true}}`))
		c.Await(t, "one endpoint for one source", func(meshtest.Answer) bool { return len(c.Tally(t, 60, instance, reviews)) == 1 }, reviews)
	})
}

// Row 12, the local part: a limit for each user, told in headers.
func TestRateLimit(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	m.Apply(t, `
apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: ratings}
spec:
  selector: {matchLabels: {app: ratings}}
  limits:
  - name: per-user
    match: [{headers: {x-user: {regex: ".+"}}}]
    key: [{header: x-user}]
    requests: 5
    per: minute
`)
	const ratings = "http://ratings:9080/"
	c.Await(t, "the limit is in force", func(a meshtest.Answer) bool { return a.Header.Get("x-ratelimit-limit") != "" }, ratings, "x-user: probe")
	for _, user := range []string{"ann", "ben"} {
		passed := 0
		for range 20 {
			a := c.Must(t, ratings, "x-user: "+user)
			switch a.Code {
			case 200:
				passed++
			case 429:
				if s, err := strconv.Atoi(a.Header.Get("retry-after")); err != nil || s < 1 || s > 60 {
					t.Errorf("retry-after %q", a.Header.Get("retry-after"))
				}
				if a.Header.Get("x-ratelimit-remaining") != "0" || !strings.HasPrefix(a.Header.Get("x-ratelimit-limit"), "5") {
					t.Errorf("x-ratelimit headers: %v", a.Header)
				}
			default:
				t.Errorf("got %d", a.Code)
			}
		}
		if passed != 5 {
			t.Errorf("%s: %d of 20 passed, want 5", user, passed)
		}
	}
	if got := c.Tally(t, 50, code, ratings); got["200"] != 50 {
		t.Errorf("requests without a user are not limited: %v", got)
	}
}

// The sticky canary: the same user keeps his side, and raising the weight moves only new users over, never one back.
func TestStickyCanary(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	at := func(weight int) map[int]string {
		m.Apply(t, strings.Replace(reviewsTo(fmt.Sprintf("  - route:\n    - {destination: {host: reviews, subset: v1}, weight: %d}\n    - {destination: {host: reviews, subset: v2}, weight: %d}\n", 100-weight, weight)),
			"metadata: {name: reviews}\nspec:\n  hosts", "metadata: {name: reviews, annotations: {mizzen.dev/sticky: \"header=x-user\", mizzen.dev/decision-header: x-decision}}\nspec:\n  hosts", 1))
		want := strconv.Itoa(weight)
		_ = want
		c.Await(t, "decisions are told", func(a meshtest.Answer) bool { return a.Header.Get("x-decision") != "" }, reviews, "x-user: probe")
		sides := map[int]string{}
		for u := range 400 {
			h := fmt.Sprintf("x-user: user-%d", u)
			sides[u] = version(c.Must(t, reviews, h))
			if again := version(c.Must(t, reviews, h)); again != sides[u] {
				t.Fatalf("user %d was on %s, then on %s", u, sides[u], again)
			}
		}
		return sides
	}
	count := func(s map[int]string) (n int) {
		for _, v := range s {
			if v == "v2" {
				n++
			}
		}
		return n
	}
	low := at(10)
	high := at(30)
	wantShare(t, "v2 at 10 %", count(low), 400, 0.1)
	wantShare(t, "v2 at 30 %", count(high), 400, 0.3)
	for u, side := range low {
		if side == "v2" && high[u] != "v2" {
			t.Errorf("user %d was moved back", u)
		}
	}
}

// Row 17, the headers: one trace id from the gateway to the last hop, in every form, parent linked to child.
func TestTraceHeaders(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, throughGateway)
	c := m.ViaGateway()
	type hop struct {
		Service  string
		Headers  map[string][]string
		Upstream []json.RawMessage
	}
	rng := rand.New(rand.NewPCG(1, 2))
	trace := fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64()|1)
	a := c.Await(t, "the chain", hasCode(200), "/", "accept: application/json", "traceparent: 00-"+trace+"-00f067aa0ba902b7-01", "baggage: user=ann")
	hops := 0
	var walk func(raw []byte)
	walk = func(raw []byte) {
		var h hop
		if err := json.Unmarshal(raw, &h); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		hops++
		get := func(name string) string { return strings.Join(h.Headers[name], ",") }
		if !strings.HasPrefix(get("traceparent"), "00-"+trace+"-") || !strings.HasSuffix(get("traceparent"), "-01") {
			t.Errorf("%s: traceparent %q", h.Service, get("traceparent"))
		}
		if get("x-b3-traceid") != trace || get("x-b3-sampled") != "1" {
			t.Errorf("%s: B3 %q sampled %q", h.Service, get("x-b3-traceid"), get("x-b3-sampled"))
		}
		if len(get("x-request-id")) != 36 || get("baggage") != "user=ann" {
			t.Errorf("%s: x-request-id %q baggage %q", h.Service, get("x-request-id"), get("baggage"))
		}
		for _, u := range h.Upstream {
			walk(u)
		}
	}
	walk([]byte(a.Body))
	if hops != 4 {
		t.Errorf("saw %d hops, want productpage, details, reviews, ratings: %s", hops, a.Body)
	}
}
