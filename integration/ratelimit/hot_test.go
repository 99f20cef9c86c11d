package ratelimit

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	service "github.com/mizzen-mesh/mizzen/controlplane/ratelimit"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/ratelimit/redistest"
)

// hotLimits let many pass, so that the store is asked often.
const hotLimits = `apiVersion: mizzen.dev/v1alpha1
kind: RateLimit
metadata: {name: front, namespace: shop}
spec:
  limits:
  - {name: per-user, key: [{header: x-user}], requests: 1200, per: day, scope: global}
  - {name: watched, requests: 1, per: second, scope: local}
`

// Eight proxies and two services ask for one key as fast as they can: exactly the quota passes, Redis is called at most once a
// millisecond by each service, not at all once the quota is used up, and the key expires.
func TestEightProxiesOneHotKey(t *testing.T) {
	redis := redistest.Start(t)
	o := service.Options{Redis: service.RedisOptions{Addrs: []string{redis.Addr}, Timeout: 2 * time.Second}}
	services := []*rls{serveLimits(t, "", hotLimits, o), serveLimits(t, "", hotLimits, o)}
	proxies := make([]*envoytest.Envoy, 8)
	var wg sync.WaitGroup
	for i := range proxies {
		wg.Go(func() { proxies[i] = mizzenProxy(t, services[i%2].addr, patient) })
	}
	wg.Wait()
	start, before := time.Now(), scriptCalls(t, redis)
	if got := passed(t, 200, "hot", proxies...); got[200] != 1200 || got[429] != 400 {
		t.Errorf("answers %v, want 1200 times 200 and 400 times 429", got)
	}
	calls, most := scriptCalls(t, redis)-before, 2*int(time.Since(start)/time.Millisecond)+2
	if calls > most || calls > 1400 {
		t.Errorf("%d calls of Redis, want at most %d, and 1400", calls, most)
	}
	t.Logf("%d calls of Redis for 1600 requests", calls)
	before = scriptCalls(t, redis)
	passed(t, 100, "hot", proxies...)
	if calls := scriptCalls(t, redis) - before; calls > 0 {
		t.Errorf("%d calls of Redis for a key that is known to be used up", calls)
	}
	c, ctx := redis.Client(t), context.Background()
	keys := c.Keys(ctx, "*hot*").Val()
	if len(keys) != 1 {
		t.Fatalf("keys %q", keys)
	}
	if ttl := c.PTTL(ctx, keys[0]).Val(); ttl < time.Hour || ttl > 24*time.Hour+2*time.Second {
		t.Errorf("the key lives for %v, want a day at most", ttl)
	}
}

// scriptCalls is how often Redis says that it ran a script.
func scriptCalls(t *testing.T, s *redistest.Server) (calls int) {
	t.Helper()
	info, err := s.Client(t).Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`cmdstat_eval(?:sha)?:calls=(\d+)`).FindAllStringSubmatch(info, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		calls += n
	}
	return calls
}

// Redis is killed and started again while requests go on: each gets 200 or 429, and the numbers are told.
func TestRedisRestartedUnderLoad(t *testing.T) {
	redis := redistest.Start(t)
	s := serve(t, "", service.Options{Redis: service.RedisOptions{Addrs: []string{redis.Addr}, Timeout: time.Second}})
	p := mizzenProxy(t, s.addr, patient)
	stop, done := make(chan struct{}), make(chan map[int]int)
	for worker := range 2 {
		go func() {
			sum := map[int]int{}
			defer func() { done <- sum }()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for code, n := range passed(t, 80, fmt.Sprintf("load-%d-%d", worker, i), p) {
					sum[code] += n
				}
			}
		}()
	}
	redis.Kill()
	envoytest.Await(t, 10*time.Second, "Redis counts as away", func() bool { return s.metric(t, "store_up") == 0 })
	redis.Restart(t)
	envoytest.Await(t, 10*time.Second, "Redis counts as back", func() bool { return s.metric(t, "store_up") == 1 })
	before := scriptCalls(t, redis)
	envoytest.Await(t, 10*time.Second, "Redis is asked", func() bool { return scriptCalls(t, redis) > before+10 })
	close(stop)
	sum := <-done
	for code, n := range <-done {
		sum[code] += n
	}
	for code := range sum {
		if code != 200 && code != 429 {
			t.Errorf("answers %v, want 200 and 429 only", sum)
		}
	}
	if n := s.metric(t, `fallbacks_total{on_error="local"}`); n == 0 {
		t.Error("the service does not tell that it counted for itself")
	}
	for _, want := range []string{"the store is away", "the store is back"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}
