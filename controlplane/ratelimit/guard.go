package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// OnError says what holds while the store is away.
type OnError string

// What may hold while the store is away.
const (
	OnErrorLocal OnError = "local" // this server counts for itself
	OnErrorAllow OnError = "allow" // everything passes, nothing is counted
	OnErrorDeny  OnError = "deny"  // nothing passes that is limited
)

// errDenied marks what OnErrorDeny refuses.
var errDenied = errors.New("the store is away")

// failures in a row after which the store counts as away; it is then only probed, every probeEvery.
const (
	failures   = 3
	probeEvery = 100 * time.Millisecond
)

// guard answers for a store that is away, and notices when it is back.
type guard struct {
	store   Store
	local   *Memory
	onError OnError
	log     *slog.Logger
	metrics *metrics

	down   atomic.Bool
	failed atomic.Int32 // in a row
	mu     sync.Mutex   // guards since
	since  time.Time
}

// Take implements Store: an error remains only under OnErrorDeny, errDenied.
func (g *guard) Take(ctx context.Context, asks []Ask) []Answer {
	if g.down.Load() {
		return g.fallback(ctx, asks)
	}
	out := g.store.Take(ctx, asks)
	var bad []int
	for i := range out {
		if out[i].Err != nil {
			bad = append(bad, i)
		}
	}
	if len(bad) == 0 {
		g.failed.Store(0)
		return out
	}
	err := out[bad[0]].Err
	g.metrics.storeErrors.Add(float64(len(bad)))
	if ctx.Err() == nil && g.failed.Add(1) >= failures && g.down.CompareAndSwap(false, true) {
		g.mu.Lock()
		g.since = time.Now()
		g.mu.Unlock()
		g.metrics.storeUp.Set(0)
		g.log.Error("the store is away", "error", err, "on-error", string(g.onError))
	}
	some := make([]Ask, len(bad))
	for i, at := range bad {
		some[i] = asks[at]
	}
	for i, a := range g.fallback(ctx, some) {
		out[bad[i]] = a
	}
	return out
}

func (g *guard) fallback(ctx context.Context, asks []Ask) []Answer {
	g.metrics.fallbacks.WithLabelValues(string(g.onError)).Add(float64(len(asks)))
	switch g.onError {
	case OnErrorDeny:
		return failed(len(asks), errDenied)
	case OnErrorAllow:
		out := make([]Answer, len(asks))
		for i := range asks {
			out[i] = Answer{Granted: asks[i].Times, Remaining: asks[i].Rule.Burst}
		}
		return out
	}
	return g.local.Take(ctx, asks)
}

// probe asks a store that is away, until ctx is done, and takes it back when it answers.
func (g *guard) probe(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	ask := []Ask{{Key: "probe", Rule: Rule{Requests: 1, Per: time.Millisecond, Burst: 1}, Each: 1, Times: 1}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !g.down.Load() || g.store.Take(ctx, ask)[0].Err != nil {
			continue
		}
		g.mu.Lock()
		away := time.Since(g.since)
		g.mu.Unlock()
		g.failed.Store(0)
		g.down.Store(false)
		g.metrics.storeUp.Set(1)
		g.log.Info("the store is back", "away", away.Round(time.Millisecond).String())
	}
}

// parseOnError reads the flag.
func parseOnError(s string) (OnError, error) {
	switch o := OnError(s); o {
	case OnErrorLocal, OnErrorAllow, OnErrorDeny:
		return o, nil
	case "":
		return OnErrorLocal, nil
	}
	return "", fmt.Errorf("read on-error %q: want local, allow or deny", s)
}
