package ratelimit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func TestUpdateKeepsState(t *testing.T) {
	base := Limit{Name: "l", Requests: 10, Per: minute, Key: byHeader("x-user")}
	for _, c := range []struct {
		name   string
		change func(*Limit)
		want   int // of 100 that come after 6 of 10 have passed
	}{
		{"same", func(*Limit) {}, 4},
		{"more requests: what was used stays used", func(l *Limit) { l.Requests = 20 }, 14},
		{"fewer requests", func(l *Limit) { l.Requests = 7 }, 1},
		{"far fewer: at most the whole quota is used up", func(l *Limit) { l.Requests = 2 }, 0},
		{"longer period", func(l *Limit) { l.Per = filter.Duration(time.Hour) }, 4},
		{"other burst", func(l *Limit) { l.Burst = 12 }, 6},
		{"other key: another limit", func(l *Limit) { l.Key = byHeader("x-plan") }, 10},
		{"other name: another limit", func(l *Limit) { l.Name = "m" }, 10},
	} {
		for _, algorithm := range []string{AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow} {
			t.Run(c.name+"/"+algorithm, func(t *testing.T) {
				before, env := base, filtertest.Env()
				before.Algorithm = algorithm
				r := newRunner(t, Config{Limits: []Limit{before}}, env)
				passes(r, 6, "x-user: a")
				after := before
				c.change(&after)
				if algorithm == AlgorithmSlidingWindow && after.Burst != 0 {
					t.Skip("a sliding window has no burst")
				}
				r.Base = newRunner(t, Config{Limits: []Limit{after}, MaxKeys: 100}, env).Base
				if got := passes(r, 100, "x-user: a"); got != c.want {
					t.Errorf("%d passed after the update, want %d", got, c.want)
				}
				r.Clock.Advance(2 * time.Hour)
				want := int(after.Requests)
				if after.Burst != 0 {
					want = int(after.Burst)
				}
				if got := passes(r, 100, "x-user: a"); got != want {
					t.Errorf("%d passed when whole again, want %d", got, want)
				}
			})
		}
	}
}

func TestNoLockoutAfterATightLimitIsRaised(t *testing.T) {
	env := filtertest.Env()
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 100, Per: filter.Duration(24 * time.Hour)}}}, env)
	if got := passes(r, 200); got != 100 {
		t.Fatalf("%d passed, want 100", got)
	}
	r.Base = newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 100, Per: filter.Duration(time.Second)}}}, env).Base
	passes(r, 1)
	r.Clock.Advance(time.Second)
	if got := passes(r, 200); got != 100 {
		t.Errorf("%d passed a second after the raise, want 100", got)
	}
}

func TestClockSetBack(t *testing.T) {
	for _, algorithm := range []string{AlgorithmGCRA, AlgorithmTokenBucket, AlgorithmSlidingWindow} {
		for _, back := range []time.Duration{time.Millisecond, 500 * time.Millisecond, time.Hour, 24 * 365 * time.Hour} {
			r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 10, Per: filter.Duration(10 * time.Second),
				Algorithm: algorithm}}}, filtertest.Env())
			r.Do()
			r.Clock.Advance(time.Minute)
			passes(r, 10)
			r.Clock.Advance(-back)
			if got := passes(r, 10); got != 0 {
				t.Errorf("%s: %d passed only because the clock was set back %s", algorithm, got, back)
			}
			r.Clock.Advance(13 * time.Second)
			if got := passes(r, 20); got != 10 {
				t.Errorf("%s: %d passed 13s after the clock was set back %s, want 10", algorithm, got, back)
			}
		}
	}
}

func TestCapOnKeysForgetsTheLongestUnused(t *testing.T) {
	r := newRunner(t, Config{MaxKeys: 3, Limits: []Limit{{Name: "l", Requests: 1, Per: minute, Key: byHeader("x-user")}}}, filtertest.Env())
	for _, user := range []string{"a", "b", "c", "a"} { // the last is refused, and is a use all the same
		passes(r, 1, "x-user: "+user)
	}
	passes(r, 1, "x-user: d") // b is the longest unused
	for _, c := range []struct {
		user string
		pass int
	}{{"a", 0}, {"c", 0}, {"d", 0}, {"b", 1}} {
		if got := passes(r, 1, "x-user: "+c.user); got != c.pass {
			t.Errorf("%s: %d passed, want %d", c.user, got, c.pass)
		}
	}
	if keys, evicted := r.Host.Counted(metricKeys, "l"), r.Host.Counted(metricEvictions, "l"); keys != 3 || evicted != 2 {
		t.Errorf("%d keys, %d evictions; want 3, 2", keys, evicted)
	}
}

func TestIdleKeysGoWithoutLoss(t *testing.T) {
	r := newRunner(t, Config{Limits: []Limit{{Name: "l", Requests: 1, Per: minute, Key: byHeader("x-user")}}}, filtertest.Env())
	for i := range 1000 {
		r.Clock.Advance(time.Second)
		passes(r, 1, fmt.Sprint("x-user: ", i))
	}
	if keys, evicted := r.Host.Counted(metricKeys, "l"), r.Host.Counted(metricEvictions, "l"); keys > 62*manyShards || evicted != 0 {
		t.Errorf("%d keys remembered, %d evicted; want about 60, 0", keys, evicted)
	}
}

func TestManyKeysStayUnderTheCap(t *testing.T) {
	const most = 8192
	r := newRunner(t, Config{MaxKeys: most, Limits: []Limit{{Name: "l", Requests: 1, Per: minute, Key: byHeader("x-user")}}}, filtertest.Env())
	for i := range 3 * most {
		passes(r, 1, fmt.Sprint("x-user: ", i))
	}
	keys, evicted := r.Host.Counted(metricKeys, "l"), r.Host.Counted(metricEvictions, "l")
	if keys != most || evicted != 2*most {
		t.Errorf("%d keys, %d evictions; want %d, %d", keys, evicted, most, 2*most)
	}
}

// TestWorkers hammers one policy from many goroutines, as Envoy's workers do. Two limits, so that two locks are
// taken, in configurations of opposite order that share the state.
func TestWorkers(t *testing.T) {
	const workers, each = 16, 2000
	env := filtertest.Env()
	all := Limit{Name: "all", Requests: 1000, Per: filter.Duration(time.Second), Burst: 50}
	user := Limit{Name: "user", Requests: 400, Per: filter.Duration(time.Second), Burst: 20, Key: byHeader("x-user")}
	busy := Limit{Name: "busy", Concurrency: 5}
	policies := []filter.Policy{}
	for _, limits := range [][]Limit{{all, user, busy}, {busy, user, all}} {
		p, err := New(Config{Limits: limits}, env)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, p)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var ticks, passed, refused, inside, over atomic.Int64
	var perUser [3]atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			p, rnd := policies[w%2], filtertest.Rand(uint64(w))
			for range each {
				u := rnd.Uint64() % 3
				x := filtertest.NewExchange(fmt.Sprint("x-user: ", u))
				x.Now = start.Add(time.Duration(ticks.Add(1)) * 20 * time.Microsecond)
				if p.Request(x).Reply != nil {
					refused.Add(1)
					continue
				}
				if inside.Add(1) > 5 {
					over.Add(1)
				}
				passed.Add(1)
				perUser[u].Add(1)
				inside.Add(-1)
				p.(filter.Ender).End(x)
			}
		})
	}
	wg.Wait()
	took := time.Duration(ticks.Load()) * 20 * time.Microsecond
	if most := int64(50 + 1000*took.Seconds() + 1); passed.Load() > most {
		t.Errorf("%d passed in %s, want at most %d", passed.Load(), took, most)
	}
	for u := range perUser {
		if most := int64(20 + 400*took.Seconds() + 1); perUser[u].Load() > most {
			t.Errorf("user %d: %d passed in %s, want at most %d", u, perUser[u].Load(), took, most)
		}
	}
	if over.Load() > 0 {
		t.Errorf("%d times more than 5 were in progress", over.Load())
	}
	if passed.Load()+refused.Load() != workers*each || passed.Load() < 300 {
		t.Errorf("%d passed, %d refused", passed.Load(), refused.Load())
	}
}

// TestWorkersTakeNothingByRefusing: at one moment exactly the quota passes, although most requests are refused by the
// other limit at the same time.
func TestWorkersTakeNothingByRefusing(t *testing.T) {
	p, err := New(Config{Limits: []Limit{
		{Name: "all", Requests: 500, Per: minute},
		{Name: "user", Requests: 100, Per: minute, Key: byHeader("x-user")},
	}}, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 1000 {
				if p.Request(filtertest.NewExchange(fmt.Sprint("x-user: ", (i+w)%8))).Reply == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 500 {
		t.Errorf("%d passed, want exactly 500", passed.Load())
	}
}

// What the client is told is text, and that is memory: it is left out here.
func TestDecisionAllocatesNothing(t *testing.T) {
	policy, err := New(Config{Headers: HeadersOff, Limits: []Limit{
		{Name: "a", Requests: 4e9, Per: minute, Key: byHeader("x-user")},
		{Name: "b", Requests: 4e9, Per: minute},
	}}, filtertest.Env())
	if err != nil {
		t.Fatal(err)
	}
	x := filtertest.NewExchange("x-user: alice")
	x.Host = filtertest.QuietHost{}
	got := testing.AllocsPerRun(1000, func() {
		policy.Request(x)
		policy.(filter.Ender).End(x)
	})
	if got > 0.1 { // the race detector empties pools at random
		t.Logf("%v allocations for each request", got)
		if !raceEnabled {
			t.Fail()
		}
	}
}
