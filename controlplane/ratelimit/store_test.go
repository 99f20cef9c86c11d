package ratelimit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/ratelimit/redistest"
)

// bench is a store whose clock a test moves.
type bench struct {
	Store
	skew *atomic.Int64
	// slack is how far the clock may run by itself during a test: Redis reads a real one.
	slack time.Duration
}

func (b *bench) advance(d time.Duration) { b.skew.Add(int64(d)) }

func (b *bench) one(a Ask) Answer { return b.Take(context.Background(), []Ask{a})[0] }

// patient is long enough for a machine that is busy with other tests.
const patient = 2 * time.Second

func newRedis(t testing.TB, o RedisOptions) *Redis {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	r, err := NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// eachStore runs f on every implementation, empty.
func eachStore(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Run("memory", func(t *testing.T) {
		skew, start := &atomic.Int64{}, time.Date(2026, 1, 1, 0, 0, 0, 123456, time.UTC)
		now := func() time.Time { return start.Add(time.Duration(skew.Load())) }
		f(t, &bench{NewMemory(now, 0), skew, 0})
	})
	onRedis := func(t *testing.T, addrs ...string) {
		skew := &atomic.Int64{}
		r := newRedis(t, RedisOptions{Addrs: addrs, Skew: func() time.Duration { return time.Duration(skew.Load()) }})
		f(t, &bench{r, skew, 10 * time.Second})
	}
	t.Run("redis", func(t *testing.T) { onRedis(t, redistest.Start(t).Addr) })
}

// storeCase is what is asked of a store, one step after the other.
type storeCase struct {
	name  string
	rule  Rule
	steps []step
}

func storeCases() []storeCase {
	hourly := Rule{Requests: 6, Per: 6 * time.Hour, Burst: 3}
	window := Rule{Requests: 4, Per: 16 * time.Hour, Burst: 4, Sliding: true}
	h := time.Hour
	bucket := Rule{Requests: 2, Per: 4 * time.Hour, Burst: 3, Bucket: true}
	return []storeCase{
		{"bucket: burst, then some more at once each per", bucket, []step{
			{ask: Ask{Times: 4}, granted: 3, remaining: 0, reset: 8 * h, retry: 4 * h},
			{after: 3 * h, granted: 0, reset: 5 * h, retry: h},
			{after: h + time.Minute, ask: Ask{Times: 3}, granted: 2, remaining: 0, reset: 8*h - time.Minute, retry: 4*h - time.Minute},
			{after: 8 * h, granted: 1, remaining: 2, reset: 4 * h},
			{ask: Ask{Each: 3}, granted: 0, remaining: 2, reset: 4 * h, retry: 4 * h},
			{ask: Ask{Each: 1, Back: true}, granted: 1, remaining: 3},
		}},
		{"gcra: burst, then one each step", hourly, []step{
			{granted: 1, remaining: 2, reset: h},
			{granted: 1, remaining: 1, reset: 2 * h},
			{granted: 1, remaining: 0, reset: 3 * h},
			{granted: 0, remaining: 0, reset: 3 * h, retry: h},
			{after: h / 2, granted: 0, reset: 5 * h / 2, retry: h / 2},
			{after: h/2 + time.Minute, granted: 1, remaining: 0, reset: 3*h - time.Minute},
			{granted: 0, reset: 3*h - time.Minute, retry: h - time.Minute},
			{after: 9 * h, granted: 1, remaining: 2, reset: h},
		}},
		{"gcra: several at once take what fits", hourly, []step{
			{ask: Ask{Times: 5}, granted: 3, remaining: 0, reset: 3 * h, retry: h},
			{after: 2*h + time.Minute, ask: Ask{Times: 5}, granted: 2, remaining: 0, reset: 3*h - time.Minute, retry: h - time.Minute},
		}},
		{"gcra: a heavy request takes all or nothing", hourly, []step{
			{ask: Ask{Each: 2}, granted: 1, remaining: 1, reset: 2 * h},
			{ask: Ask{Each: 2}, granted: 0, remaining: 1, reset: 2 * h, retry: h},
			{ask: Ask{Each: 1}, granted: 1, remaining: 0, reset: 3 * h},
		}},
		{"gcra: looking counts nothing", hourly, []step{
			{look: true, granted: 1, remaining: 3},
			{ask: Ask{Times: 3}, granted: 3, remaining: 0, reset: 3 * h},
			{look: true, granted: 0, remaining: 0, reset: 3 * h, retry: h},
		}},
		{"gcra: what is given back may be taken again", hourly, []step{
			{ask: Ask{Times: 3}, granted: 3, remaining: 0, reset: 3 * h},
			{ask: Ask{Each: 2, Back: true}, granted: 1, remaining: 2, reset: h},
			{ask: Ask{Times: 3}, granted: 2, remaining: 0, reset: 3 * h, retry: h},
			{ask: Ask{Each: 9, Back: true}, granted: 1, remaining: 3},
			{ask: Ask{Each: 1, Back: true}, granted: 1, remaining: 3},
		}},
		{"gcra: a clock set back does not lock anybody out", hourly, []step{
			{ask: Ask{Times: 2}, granted: 2, remaining: 1, reset: 2 * h},
			{after: -100 * h, granted: 1, remaining: 0, reset: 3 * h},
			{after: 2*h + time.Minute, granted: 1, remaining: 1, reset: 2*h - time.Minute},
		}},
		{"window: all at once, then as they leave", window, []step{
			{ask: Ask{Times: 2}, granted: 2, remaining: 2},
			{after: 4 * h, ask: Ask{Times: 5}, granted: 2, remaining: 0},
			{granted: 0, remaining: 0},
			{after: 11 * h, granted: 0},
			{after: 2*h + time.Minute, ask: Ask{Times: 3}, granted: 2, remaining: 0},
			{after: 2 * h, granted: 0},
			{after: 2*h + time.Minute, granted: 1, remaining: 1},
			{after: 40 * h, granted: 1, remaining: 3},
		}},
		{"window: a heavy request takes all or nothing", window, []step{
			{ask: Ask{Each: 3}, granted: 1, remaining: 1},
			{ask: Ask{Each: 3}, granted: 0, remaining: 1},
			{ask: Ask{Each: 1}, granted: 1, remaining: 0},
			{look: true, granted: 0},
		}},
		{"window: what is given back may be taken again", window, []step{
			{ask: Ask{Times: 2}, granted: 2, remaining: 2},
			{after: 2 * h, ask: Ask{Times: 2}, granted: 2, remaining: 0},
			{ask: Ask{Each: 3, Back: true}, granted: 1, remaining: 3},
			{ask: Ask{Times: 4}, granted: 3, remaining: 0},
			{ask: Ask{Each: 9, Back: true}, granted: 1, remaining: 4},
			{look: true, granted: 1, remaining: 4},
		}},
		{"window: a clock set back", window, []step{
			{ask: Ask{Times: 3}, granted: 3, remaining: 1},
			{after: -1000 * h, ask: Ask{Times: 2}, granted: 1, remaining: 0},
			{after: 17*h + time.Minute, ask: Ask{Times: 4}, granted: 4, remaining: 0},
		}},
	}
}

// step asks after a pause and says what must come.
type step struct {
	after     time.Duration
	ask       Ask // Key and Rule are filled in; Times 0 means 1, Each 0 means 1 unless look is set
	look      bool
	granted   uint32
	remaining uint32
	reset     time.Duration
	retry     time.Duration
}

func TestStores(t *testing.T) {
	eachStore(t, func(t *testing.T, b *bench) {
		for _, c := range storeCases() {
			t.Run(c.name, func(t *testing.T) {
				for i, s := range c.steps {
					b.advance(s.after)
					a := s.ask
					a.Key, a.Rule, a.Times = c.name, c.rule, max(1, a.Times)
					if !s.look {
						a.Each = max(1, a.Each)
					}
					got := b.one(a)
					if got.Err != nil || got.Granted != s.granted || got.Remaining != s.remaining {
						t.Fatalf("step %d: %+v, want granted %d, remaining %d", i, got, s.granted, s.remaining)
					}
					if !c.rule.Sliding && (!b.near(got.Reset, s.reset) || !b.near(got.Retry, s.retry)) {
						t.Errorf("step %d: reset %v, retry %v, want %v, %v", i, got.Reset, got.Retry, s.reset, s.retry)
					}
					if (got.Granted < a.Times) != (got.Retry > 0) {
						t.Errorf("step %d: granted %d, retry %v", i, got.Granted, got.Retry)
					}
				}
			})
		}
	})
}

// near allows for a clock that went on by itself.
func (b *bench) near(got, want time.Duration) bool {
	return got <= want+time.Microsecond && got >= want-b.slack-time.Microsecond
}

// What Retry says holds: just before, one more does not fit; then it does.
func TestRetryIsTrue(t *testing.T) {
	eachStore(t, func(t *testing.T, b *bench) {
		for _, sliding := range []string{"gcra", "sliding", "bucket"} {
			rule := Rule{Requests: 5, Per: 1000 * time.Hour, Burst: 5, Sliding: sliding == "sliding", Bucket: sliding == "bucket"}
			ask := Ask{Key: "retry", Rule: rule, Each: 1, Times: 1}
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 200 {
				got := b.one(ask)
				if got.Granted == 1 {
					b.advance(time.Duration(r.Int64N(int64(100 * time.Hour))))
					continue
				}
				b.advance(got.Retry - b.slack - time.Second)
				if early := b.one(ask); early.Granted != 0 {
					t.Fatalf("%s, %d: one fits before retry %v", sliding, i, got.Retry)
				}
				b.advance(b.slack + 2*time.Second)
				if late := b.one(ask); late.Granted != 1 {
					t.Fatalf("%s, %d: none fits after retry %v: %+v", sliding, i, got.Retry, late)
				}
			}
		}
	})
}

// No window of length Per lets more pass than the rule says.
func TestNeverTooMany(t *testing.T) {
	eachStore(t, func(t *testing.T, b *bench) {
		for _, rule := range []Rule{
			{Requests: 10, Per: 100 * time.Hour, Burst: 4},
			{Requests: 3, Per: 100 * time.Hour, Burst: 7},
			{Requests: 10, Per: 100 * time.Hour, Burst: 10, Sliding: true},
			{Requests: 10, Per: 100 * time.Hour, Burst: 10, Bucket: true},
		} {
			most := int(rule.Requests + rule.Burst)
			if rule.Sliding {
				most = int(rule.Requests)
			}
			ask := Ask{Key: fmt.Sprint(rule), Rule: rule, Each: 1, Times: 1}
			r := rand.New(rand.NewPCG(3, 4))
			var passed []int64
			for range 400 {
				b.advance(time.Duration(r.Int64N(int64(8 * time.Hour))))
				if b.one(ask).Granted == 1 {
					passed = append(passed, b.skew.Load())
				}
			}
			for i := most; i < len(passed); i++ {
				if d := time.Duration(passed[i] - passed[i-most]); d < rule.Per-b.slack {
					t.Fatalf("%+v: %d passed within %v", rule, most+1, d)
				}
			}
			if len(passed) < 20 {
				t.Errorf("%+v: only %d passed", rule, len(passed))
			}
		}
	})
}

// What a key has used stays used when the numbers change, and nobody is locked out longer than by the new ones.
func TestNumbersChange(t *testing.T) {
	eachStore(t, func(t *testing.T, b *bench) {
		for _, sliding := range []bool{false, true} {
			ask := func(n, times uint32) Ask {
				return Ask{Key: "change", Rule: Rule{Requests: n, Per: 10 * time.Hour, Burst: n, Sliding: sliding}, Each: 1, Times: times}
			}
			for i, s := range []struct{ requests, times, granted uint32 }{{10, 10, 10}, {15, 10, 5}, {3, 1, 0}, {100, 200, 85}} {
				if got := b.one(ask(s.requests, s.times)); got.Granted != s.granted {
					t.Errorf("sliding %v, step %d: %+v, want %d", sliding, i, got, s.granted)
				}
			}
		}
	})
}

// The Redis script decides as the Go code does, whatever is asked.
func TestRedisDecidesAsMemory(t *testing.T) {
	const step = 100 * time.Hour // of the sliding window's slots
	skew := &atomic.Int64{}
	// Half an hour off the edges of slots, so that the seconds that the test takes decide nothing.
	skew.Store(int64(time.Hour/2) - time.Now().UnixNano()%int64(time.Hour))
	m := NewMemory(func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }, 0)
	m.start = time.UnixMicro(origin % step.Microseconds()) // the slots of both begin at the same times
	r := newRedis(t, RedisOptions{Addrs: []string{redistest.Start(t).Addr}, Pace: time.Microsecond,
		Skew: func() time.Duration { return time.Duration(skew.Load()) }})
	rnd := rand.New(rand.NewPCG(5, 6))
	rules := []Rule{{Requests: 7, Per: 1000 * time.Hour, Burst: 12}, {Requests: 7, Per: 1000 * time.Hour, Burst: 3},
		{Requests: 12, Per: 1600 * time.Hour, Burst: 12, Sliding: true}, {Requests: 7, Per: 300 * time.Hour, Burst: 12, Bucket: true},
		{Requests: 5, Per: 300 * time.Hour, Burst: 3, Bucket: true}}
	for i := range 2000 {
		skew.Add(int64(rnd.IntN(60)) * int64(time.Hour))
		a := Ask{Rule: rules[rnd.IntN(len(rules))], Each: uint32(rnd.IntN(4)), Times: uint32(1 + rnd.IntN(3)), Back: rnd.IntN(8) == 0}
		a.Key = kindOf(a.Rule) // the two rules of GCRA, and of buckets, share a key
		if a.Back || a.Each == 0 {
			a.Times = 1
		}
		ctx := context.Background()
		want, got := m.Take(ctx, []Ask{a})[0], r.Take(ctx, []Ask{a})[0]
		near := func(a, b time.Duration) bool { return (a - b).Abs() < time.Minute }
		if got.Err != nil || got.Granted != want.Granted || got.Remaining != want.Remaining ||
			!near(got.Reset, want.Reset) || !near(got.Retry, want.Retry) {
			t.Fatalf("step %d, %+v:\nredis  %+v\nmemory %+v", i, a, got, want)
		}
	}
}

func TestMemoryForgetsTheLongestUnused(t *testing.T) {
	m := NewMemory(time.Now, shards*10)
	rule := Rule{Requests: 1, Per: time.Hour, Burst: 1}
	ctx := context.Background()
	for i := range 10_000 {
		m.Take(ctx, []Ask{{Key: fmt.Sprint(i), Rule: rule, Each: 1, Times: 1}})
		if a := m.Take(ctx, []Ask{{Key: "mine", Rule: rule, Each: 1, Times: 1}})[0]; i > 0 && a.Granted != 0 {
			t.Fatalf("the key used last was forgotten after %d others", i)
		}
	}
	if n := m.Len(); n > shards*10 || n < shards*5 {
		t.Errorf("%d keys, want at most %d", n, shards*10)
	}
}
