package ratelimit

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/ratelimit/redistest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

const limitsYAML = `apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: reviews, namespace: shop}
spec:
  limits:
  - {name: per-user, key: [{header: x-user}], requests: 3, per: hour, scope: global}
  - {name: all, requests: 5, per: hour, scope: global}
  - {name: watched, requests: 1, per: hour, scope: global, action: shadow}
  - {requests: 2, per: 10s, burst: 4, scope: global}
  - {name: here, requests: 1, per: hour}
  - {name: tenant, key: [{query: tenant}, {header: x-user}, {sourceAddress: true}], requests: 3, per: hour, scope: global}
`

func table(t testing.TB, yaml string) *Table {
	t.Helper()
	set, ds := istio.Decode("limits.yaml", strings.NewReader(yaml))
	for _, d := range ds {
		if d.Severity == istio.Error {
			t.Fatal(d)
		}
	}
	return TableOf(set, false)
}

func newTestService(t testing.TB, yaml string) (*service, *atomic.Int64) {
	t.Helper()
	skew, start := &atomic.Int64{}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return start.Add(time.Duration(skew.Load())) }
	s := &service{domain: DefaultDomain, store: NewMemory(now, 0), refused: newRefusals(), metrics: newMetrics(), now: now}
	s.setTable(table(t, yaml))
	return s, skew
}

// descriptor is made of name, value pairs.
func descriptor(pairs ...string) *commonv3.RateLimitDescriptor {
	d := &commonv3.RateLimitDescriptor{}
	for i := 0; i < len(pairs); i += 2 {
		d.Entries = append(d.Entries, &commonv3.RateLimitDescriptor_Entry{Key: pairs[i], Value: pairs[i+1]})
	}
	return d
}

func perUser(user string) *commonv3.RateLimitDescriptor {
	return descriptor("limit", "shop/reviews/per-user", "key", user)
}

func should(t testing.TB, s *service, ds ...*commonv3.RateLimitDescriptor) *rlsv3.RateLimitResponse {
	t.Helper()
	out, err := s.ShouldRateLimit(context.Background(), &rlsv3.RateLimitRequest{Domain: DefaultDomain, Descriptors: ds})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func codesOf(r *rlsv3.RateLimitResponse) string {
	out := []string{r.GetOverallCode().String()}
	for _, s := range r.GetStatuses() {
		out = append(out, fmt.Sprintf("%s:%d", s.GetCode(), s.GetLimitRemaining()))
	}
	return strings.Join(out, " ")
}

// metric reads a series as Prometheus would.
func metric(t testing.TB, s *service, series string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	s.pages().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "mizzen_ratelimit_"+series+" "); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	return 0
}

func TestTable(t *testing.T) {
	got := table(t, limitsYAML).Names()
	if want := []string{"shop/reviews/3", "shop/reviews/all", "shop/reviews/per-user", "shop/reviews/tenant", "shop/reviews/watched"}; !slices.Equal(got, want) {
		t.Errorf("limits %q, want %q", got, want)
	}
}

func TestShouldRateLimit(t *testing.T) {
	all := descriptor("limit", "shop/reviews/all")
	override := descriptor("limit", "shop/reviews/per-user", "key", "gold")
	override.Limit = &commonv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 100, Unit: typev3.RateLimitUnit_MINUTE}
	unlisted := descriptor("path", "/x")
	unlisted.Limit = &commonv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 1, Unit: typev3.RateLimitUnit_HOUR}
	heavy := perUser("heavy")
	heavy.HitsAddend = wrapperspb.UInt64(2)
	back := perUser("heavy")
	back.HitsAddend, back.IsNegativeHits = wrapperspb.UInt64(2), true
	look := perUser("heavy")
	look.HitsAddend = wrapperspb.UInt64(0)
	tenant := func(pairs ...string) *commonv3.RateLimitDescriptor {
		return descriptor(append([]string{"limit", "shop/reviews/tenant"}, pairs...)...)
	}
	type ask []*commonv3.RateLimitDescriptor
	for _, c := range []struct {
		name string
		asks []ask
		want []string
	}{
		{"by key", []ask{{perUser("a")}, {perUser("a")}, {perUser("a")}, {perUser("a")}, {perUser("b")}},
			[]string{"OK OK:2", "OK OK:1", "OK OK:0", "OVER_LIMIT OVER_LIMIT:0", "OK OK:2"}},
		{"names of entries are free", []ask{{perUser("a")}, {descriptor("limit", "shop/reviews/per-user", "remote_address", "a")}},
			[]string{"OK OK:2", "OK OK:1"}},
		{"parts do not join", []ask{{descriptor("limit", "shop/reviews/per-user", "key", "a", "key", "bc")},
			{descriptor("limit", "shop/reviews/per-user", "key", "ab", "key", "c")}}, []string{"OK OK:2", "OK OK:2"}},
		{"a part that is missing, and the limit named for each condition", []ask{{tenant("key", "", "key", "u", "key", "1")}, {tenant("part1", "u", "remote_address", "1")},
			{tenant("limit", "shop/reviews/tenant", "part1", "u", "remote_address", "1")}, {tenant("part0", "u", "remote_address", "1")}, {tenant("part1", "u", "remote_address", "1")}},
			[]string{"OK OK:2", "OK OK:1", "OK OK:0", "OK OK:2", "OVER_LIMIT OVER_LIMIT:0"}},
		{"a refusal takes nothing from the others", []ask{{perUser("a"), all}, {perUser("a"), all}, {perUser("a"), all}, {perUser("a"), all},
			{perUser("a"), all}, {all}, {all}, {all}},
			[]string{"OK OK:2 OK:4", "OK OK:1 OK:3", "OK OK:0 OK:2", "OVER_LIMIT OVER_LIMIT:0 OK:1", "OVER_LIMIT OVER_LIMIT:0 OK:0",
				"OK OK:1", "OK OK:0", "OVER_LIMIT OVER_LIMIT:0"}},
		{"shadow", []ask{{descriptor("limit", "shop/reviews/watched")}, {descriptor("limit", "shop/reviews/watched")}, {descriptor("limit", "shop/reviews/watched")}},
			[]string{"OK OK:0", "OK OVER_LIMIT:0", "OK OVER_LIMIT:0"}},
		{"unnamed", []ask{{descriptor("limit", "shop/reviews/3")}}, []string{"OK OK:3"}},
		{"what is not limited", []ask{{descriptor("limit", "shop/reviews/here")}, {descriptor("limit", "x")}, {descriptor("key", "x")}, {descriptor()}},
			[]string{"OK UNKNOWN:0", "OK UNKNOWN:0", "OK OK:0", "OK OK:0"}},
		{"a descriptor's own limit", []ask{{override}, {unlisted}, {unlisted}, {descriptor("path", "/x")}},
			[]string{"OK OK:99", "OK OK:0", "OVER_LIMIT OVER_LIMIT:0", "OK OK:0"}},
		{"hits", []ask{{heavy}, {heavy}, {look}, {perUser("heavy")}, {look}, {back}, {heavy}},
			[]string{"OK OK:1", "OVER_LIMIT OVER_LIMIT:0", "OK OK:1", "OK OK:0", "OVER_LIMIT OVER_LIMIT:0", "OK OK:2", "OK OK:0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newTestService(t, limitsYAML)
			for i, a := range c.asks {
				if got := codesOf(should(t, s, a...)); got != c.want[i] {
					t.Errorf("ask %d: %s, want %s", i, got, c.want[i])
				}
			}
		})
	}
}

// Numbers for some keys come from the resource, whatever per and burst they have; each limit has its own algorithm.
func TestOverridesAndAlgorithms(t *testing.T) {
	s, skew := newTestService(t, `apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: r, namespace: n}
spec:
  limits:
  - name: plan
    key: [{header: x-plan}, {header: x-user}]
    requests: 1
    per: 10s
    scope: global
    overrides:
    - {key: [gold, "*"], requests: 3, per: 10s}
    - {key: [gold, boss], requests: 5, per: 10s, burst: 6}
    - {key: ["*", tester], requests: 1, per: 10s, action: shadow}
  - {name: bucket, requests: 2, per: 10s, scope: global, algorithm: tokenBucket}
  - {name: window, requests: 2, per: 16s, scope: global, algorithm: slidingWindow}
`)
	plan := func(plan, user string) *commonv3.RateLimitDescriptor {
		return descriptor("limit", "n/r/plan", "key", plan, "key", user)
	}
	gold := plan("gold", "ann")
	gold.Limit = &commonv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 77, Unit: typev3.RateLimitUnit_SECOND} // a proxy's old numbers
	for i, c := range []struct {
		ask  *commonv3.RateLimitDescriptor
		want string
	}{
		{plan("free", "ann"), "OK OK:0"}, {plan("free", "ann"), "OVER_LIMIT OVER_LIMIT:0"}, {gold, "OK OK:2"}, {plan("gold", "ann"), "OK OK:1"},
		{plan("gold", "boss"), "OK OK:5"}, {plan("free", "tester"), "OK OK:0"}, {plan("free", "tester"), "OK OVER_LIMIT:0"},
		{descriptor("limit", "n/r/bucket"), "OK OK:1"}, {descriptor("limit", "n/r/bucket"), "OK OK:0"},
		{descriptor("limit", "n/r/window"), "OK OK:1"}, {descriptor("limit", "n/r/window"), "OK OK:0"},
	} {
		if got := codesOf(should(t, s, c.ask)); got != c.want {
			t.Errorf("ask %d: %s, want %s", i, got, c.want)
		}
	}
	skew.Add(int64(9 * time.Second)) // GCRA would give one back
	if got := codesOf(should(t, s, descriptor("limit", "n/r/bucket"))); got != "OVER_LIMIT OVER_LIMIT:0" {
		t.Errorf("the bucket after 9 s: %s", got)
	}
	skew.Add(int64(time.Second))
	if got := codesOf(should(t, s, descriptor("limit", "n/r/bucket"))); got != "OK OK:1" {
		t.Errorf("the bucket after 10 s: %s", got)
	}
	if got := codesOf(should(t, s, descriptor("limit", "n/r/window"))); got != "OVER_LIMIT OVER_LIMIT:0" {
		t.Errorf("the window after 10 s: %s", got)
	}
}

func TestWhatIsTold(t *testing.T) {
	s, skew := newTestService(t, limitsYAML)
	var last *rlsv3.RateLimitResponse
	for range 4 {
		last = should(t, s, perUser("a"))
	}
	st := last.GetStatuses()[0]
	if l := st.GetCurrentLimit(); l.GetName() != "shop/reviews/per-user" || l.GetRequestsPerUnit() != 3 || l.GetUnit() != rlsv3.RateLimitResponse_RateLimit_HOUR {
		t.Errorf("current limit %v", l)
	}
	if d := st.GetDurationUntilReset().AsDuration(); d != 20*time.Minute {
		t.Errorf("until one may pass: %v, want 20m", d)
	}
	if h := last.GetResponseHeadersToAdd(); len(h) != 1 || h[0].GetKey() != "retry-after" || h[0].GetValue() != "1200" {
		t.Errorf("headers %v", h)
	}
	l := should(t, s, descriptor("limit", "shop/reviews/3")).GetStatuses()[0].GetCurrentLimit()
	if l.GetUnit() != rlsv3.RateLimitResponse_RateLimit_SECOND || l.GetUnitMultiplier().GetValue() != 10 {
		t.Errorf("10s is told as %v", l)
	}
	if n := metric(t, s, `decisions_total{limit="shop/reviews/per-user",result="limited"}`); n != 1 {
		t.Errorf("limited counted %v", n)
	}
	// A refusal is remembered until it ends, and no longer.
	should(t, s, perUser("a"))
	if n := metric(t, s, "cached_refusals_total"); n != 1 {
		t.Errorf("%v cached refusals, want 1", n)
	}
	skew.Add(int64(20*time.Minute + time.Second))
	if got := codesOf(should(t, s, perUser("a"))); got != "OK OK:0" {
		t.Errorf("after the wait: %s", got)
	}
	// With other numbers it means nothing.
	should(t, s, perUser("a"))
	s.setTable(table(t, strings.Replace(limitsYAML, "requests: 3, per: hour", "requests: 30, per: hour", 1)))
	if got := codesOf(should(t, s, perUser("a"))); !strings.HasPrefix(got, "OK OK:2") {
		t.Errorf("after the limit was raised: %s", got)
	}
}

func TestWrongAsks(t *testing.T) {
	s, _ := newTestService(t, limitsYAML)
	for _, req := range []*rlsv3.RateLimitRequest{{}, {Domain: DefaultDomain}, {Descriptors: []*commonv3.RateLimitDescriptor{perUser("a")}}} {
		if _, err := s.ShouldRateLimit(context.Background(), req); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", req, err)
		}
	}
	for range 5 {
		out, err := s.ShouldRateLimit(context.Background(), &rlsv3.RateLimitRequest{Domain: "another", Descriptors: []*commonv3.RateLimitDescriptor{perUser("a")}})
		if err != nil || out.GetOverallCode() != rlsv3.RateLimitResponse_OK {
			t.Errorf("another domain: %v, %v", out, err)
		}
	}
	s.table.Store(nil)
	if _, err := s.ShouldRateLimit(context.Background(), &rlsv3.RateLimitRequest{Domain: DefaultDomain, Descriptors: []*commonv3.RateLimitDescriptor{perUser("a")}}); status.Code(err) != codes.Unavailable {
		t.Errorf("before limits were read: %v", err)
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	r, now := newRefusals(), time.Now()
	for i := range maxRefusals * 2 {
		r.add(fmt.Sprint(i), Rule{}, now.Add(time.Hour), now)
	}
	n := 0
	for i := range r.shards {
		n += len(r.shards[i].keys)
	}
	if n > maxRefusals || n < maxRefusals*9/10 {
		t.Errorf("%d refusals, want about %d at most", n, maxRefusals)
	}
}

// One key asked for by everybody at once costs Redis few calls, and exactly its quota passes.
func TestHotKeyCostsRedisFewCalls(t *testing.T) {
	r := newRedis(t, RedisOptions{Addrs: []string{redistest.Start(t).Addr}})
	var calls, asked atomic.Int64
	r.sent = func(c, a int) { calls.Add(int64(c)); asked.Add(int64(a)) }
	rule := Rule{Requests: 3000, Per: 1000 * time.Hour, Burst: 3000}
	var granted atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 100 {
				a := r.Take(context.Background(), []Ask{{Key: "hot", Rule: rule, Each: 1, Times: 1}})[0]
				if a.Err != nil {
					t.Error(a.Err)
				}
				granted.Add(int64(a.Granted))
			}
		})
	}
	wg.Wait()
	if granted.Load() != 3000 {
		t.Errorf("%d passed, want 3000", granted.Load())
	}
	if most := int64(time.Since(start)/time.Millisecond) + 2; calls.Load() > most || asked.Load() != 6400 {
		t.Errorf("%d calls for %d asks, want at most %d for 6400", calls.Load(), asked.Load(), most)
	}
}

func TestCluster(t *testing.T) {
	servers := redistest.StartCluster(t, 2)
	r := newRedis(t, RedisOptions{Addrs: []string{servers[0].Addr, servers[1].Addr}})
	rule := Rule{Requests: 2, Per: 1000 * time.Hour, Burst: 2}
	var asks []Ask
	for i := range 40 {
		asks = append(asks, Ask{Key: fmt.Sprintf("a/b|%d", i), Rule: rule, Each: 1, Times: 1})
	}
	for round, want := range []uint32{1, 1, 0} {
		for i, a := range r.Take(context.Background(), asks) {
			if a.Err != nil || a.Granted != want {
				t.Fatalf("round %d, key %d: %+v, want %d", round, i, a, want)
			}
		}
	}
	for i, s := range servers {
		if n := s.Client(t).DBSize(context.Background()).Val(); n < 5 {
			t.Errorf("server %d holds %d keys of 40", i, n)
		}
	}
}

// Keys leave Redis by themselves.
func TestKeysExpire(t *testing.T) {
	s := redistest.Start(t)
	r, c, ctx := newRedis(t, RedisOptions{Addrs: []string{s.Addr}}), s.Client(t), context.Background()
	for _, rule := range []Rule{{}, {Sliding: true}, {Bucket: true}} {
		r.Take(ctx, []Ask{{Key: "x", Rule: rule.with(10, 10*time.Second, 10), Each: 1, Times: 1}})
	}
	keys, _ := c.Keys(ctx, "*").Result()
	if len(keys) != 3 {
		t.Fatalf("keys %q", keys)
	}
	for _, k := range keys {
		if ttl := c.PTTL(ctx, k).Val(); ttl < time.Second || ttl > 12*time.Second {
			t.Errorf("%s lives for %v", k, ttl)
		}
	}
}

// guarded is a service over a Redis, as Run puts it together.
func guarded(t *testing.T, addr, onError string) (*service, *textlog.Buffer) {
	t.Helper()
	log := &textlog.Buffer{}
	o := Options{Domain: DefaultDomain, Redis: RedisOptions{Addrs: []string{addr}, Timeout: 500 * time.Millisecond}, Log: slog.New(slog.NewTextHandler(log, nil))}
	s, probe, closeStore, err := newService(o, OnError(onError))
	if err != nil {
		t.Fatal(err)
	}
	s.setTable(table(t, limitsYAML))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { probe(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); closeStore() })
	return s, log
}

// Redis goes away and comes back: meanwhile --on-error holds, metrics and log tell, and it recovers by itself.
func TestRedisAway(t *testing.T) {
	for _, c := range []struct {
		onError string
		passed  int // of 10 requests under a limit of 3
	}{{"local", 3}, {"allow", 10}, {"deny", 0}} {
		t.Run(c.onError, func(t *testing.T) {
			srv := redistest.Start(t)
			s, log := guarded(t, srv.Addr, c.onError)
			pass := func(user string) (n int) {
				for range 10 {
					if should(t, s, perUser(user)).GetOverallCode() == rlsv3.RateLimitResponse_OK {
						n++
					}
				}
				return n
			}
			if n := pass("before"); n != 3 {
				t.Errorf("%d passed before, want 3", n)
			}
			srv.Kill()
			if n := pass("during"); n != c.passed {
				t.Errorf("%d passed while Redis was away, want %d", n, c.passed)
			}
			envoytest.Await(t, 5*time.Second, "Redis counts as away", func() bool {
				pass("more")
				return metric(t, s, "store_up") == 0
			})
			start := time.Now()
			pass("quick")
			if d := time.Since(start); d > 400*time.Millisecond {
				t.Errorf("10 requests took %v while Redis is known to be away", d)
			}
			srv.Restart(t)
			envoytest.Await(t, 10*time.Second, "Redis counts as back", func() bool { return metric(t, s, "store_up") == 1 })
			if n := pass("after"); n != 3 {
				t.Errorf("%d passed after, want 3", n)
			}
			if n := srv.Client(t).DBSize(context.Background()).Val(); n == 0 {
				t.Error("Redis holds nothing after it came back")
			}
			for _, want := range []string{"the store is away", "on-error=" + c.onError, "the store is back"} {
				if strings.Count(log.String(), want) != 1 {
					t.Errorf("log does not say %q once:\n%s", want, log)
				}
			}
			if metric(t, s, `fallbacks_total{on_error="`+c.onError+`"}`) == 0 {
				t.Error("no fallback was counted")
			}
		})
	}
}

// Redis is killed and restarted under load: every request is answered, and at most a quota for each life of a counter
// passes: one of each Redis, and one of the fallback.
func TestRedisRestartedUnderLoad(t *testing.T) {
	srv := redistest.Start(t)
	s, _ := guarded(t, srv.Addr, "local")
	var passed, asked atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				if should(t, s, perUser("load")).GetOverallCode() == rlsv3.RateLimitResponse_OK {
					passed.Add(1)
				}
				should(t, s, perUser(fmt.Sprint(asked.Load())))
			}
		})
	}
	const restarts = 3
	for range restarts {
		n := asked.Load()
		envoytest.Await(t, 10*time.Second, "load on Redis", func() bool { return asked.Load() > n+100 })
		srv.Kill()
		envoytest.Await(t, 10*time.Second, "away", func() bool { return metric(t, s, "store_up") == 0 })
		srv.Restart(t)
		envoytest.Await(t, 10*time.Second, "back", func() bool { return metric(t, s, "store_up") == 1 })
	}
	close(stop)
	wg.Wait()
	if n := passed.Load(); n < 3 || n > 3*(1+restarts+1) {
		t.Errorf("%d passed under a limit of 3 with %d restarts, want at most %d", n, restarts, 3*(restarts+2))
	}
	t.Logf("%d requests, %d passed", asked.Load(), passed.Load())
}
