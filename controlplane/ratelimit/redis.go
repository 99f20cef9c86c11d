package ratelimit

import (
	"context"
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

//go:embed script.lua
var script string

// DefaultRedisTimeout leaves a proxy that waits 20 ms time to hear what holds while Redis is away.
const DefaultRedisTimeout = 12 * time.Millisecond

// RedisOptions of NewRedis.
type RedisOptions struct {
	// Addrs: one address, or redis:// URL, of a single server, or several of a Redis Cluster.
	Addrs []string
	// Timeout of a batch of asks. Default DefaultRedisTimeout.
	Timeout time.Duration
	// Pace is the least time between two batches of a lane, so a key costs Redis at most 1/Pace calls a second.
	// Default 1ms.
	Pace time.Duration
	// Skew is added to Redis' clock: tests move it.
	Skew func() time.Duration
}

// Lanes and sizes of batches. A key has one lane: at most one call for it is under way.
const (
	lanes    = 8
	maxBatch = 512
	maxQueue = 4096
)

// Redis counts in Redis, on its clock. Concurrent asks for one key become one call, and what the lanes gather while a
// batch is under way becomes the next batch. Safe for concurrent use.
type Redis struct {
	client  redis.UniversalClient
	o       RedisOptions
	sha     string
	seed    maphash.Seed
	lanes   [lanes]chan waiter
	closing chan struct{}
	done    sync.WaitGroup
	sent    func(batch, asks int) // metrics; not nil
}

// waiter is one ask on its way through a lane.
type waiter struct {
	ask  Ask
	call *call
	i    int
}

// call is one Take.
type call struct {
	mu      sync.Mutex
	answers []Answer
	left    int
	done    chan struct{}
}

var errQueue = errors.New("too many asks wait for Redis")

// NewRedis makes a store of a Redis that need not be there yet. Close it.
func NewRedis(o RedisOptions) (*Redis, error) {
	if o.Timeout == 0 {
		o.Timeout = DefaultRedisTimeout
	}
	if o.Pace == 0 {
		o.Pace = time.Millisecond
	}
	if o.Skew == nil {
		o.Skew = func() time.Duration { return 0 }
	}
	client, err := redisClient(o)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(script)) //nolint:gosec // how Redis names scripts
	r := &Redis{client: client, o: o, sha: hex.EncodeToString(sum[:]), seed: maphash.MakeSeed(),
		closing: make(chan struct{}), sent: func(int, int) {}}
	for i := range r.lanes {
		r.lanes[i] = make(chan waiter, maxQueue)
		r.done.Go(func() { r.run(r.lanes[i]) })
	}
	return r, nil
}

func redisClient(o RedisOptions) (redis.UniversalClient, error) {
	u := &redis.UniversalOptions{Addrs: o.Addrs}
	if len(o.Addrs) == 1 && strings.Contains(o.Addrs[0], "://") {
		one, err := redis.ParseURL(o.Addrs[0])
		if err != nil {
			return nil, fmt.Errorf("read the address of Redis: %w", err)
		}
		u.Addrs, u.Username, u.Password, u.DB, u.TLSConfig = []string{one.Addr}, one.Username, one.Password, one.DB, one.TLSConfig
	}
	u.MaxRetries = -1 // an ask that was perhaps counted is not asked again
	u.ContextTimeoutEnabled = true
	u.DialTimeout, u.DialerRetries = time.Second, 1
	u.ReadTimeout, u.WriteTimeout = o.Timeout, o.Timeout
	u.DisableIdentity = true
	u.Protocol = 2
	u.PoolSize = 2 * lanes
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewUniversalClient(u), nil
}

// Close ends the lanes and the connections. Asks under way are answered.
func (r *Redis) Close() error {
	close(r.closing)
	r.done.Wait()
	return r.client.Close()
}

// Take implements Store.
func (r *Redis) Take(ctx context.Context, asks []Ask) []Answer {
	if len(asks) == 0 {
		return nil
	}
	c := &call{answers: make([]Answer, len(asks)), left: len(asks), done: make(chan struct{})}
	for i, a := range asks {
		select {
		case r.lanes[maphash.String(r.seed, a.Key)%lanes] <- waiter{a, c, i}:
		default:
			c.answer(i, Answer{Err: errQueue})
		}
	}
	select {
	case <-c.done:
		return c.answers
	case <-ctx.Done():
		return failed(len(asks), ctx.Err())
	case <-r.closing:
		return failed(len(asks), errors.New("the store is closed"))
	}
}

func failed(n int, err error) []Answer {
	out := make([]Answer, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}

func (c *call) answer(i int, a Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[i] = a
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// run sends a lane's batches, one at a time.
func (r *Redis) run(lane chan waiter) {
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		var batch []waiter
		select {
		case w := <-lane:
			batch = append(batch, w)
		case <-r.closing:
			return
		}
		// A lane that was idle for the pace sends at once; a busy one gathers until its turn.
		select {
		case <-pace.C:
		case <-r.closing:
		}
		pace.Reset(r.o.Pace)
		batch = gather(lane, batch)
		r.send(batch)
	}
}

func gather(lane chan waiter, batch []waiter) []waiter {
	for len(batch) < maxBatch {
		select {
		case w := <-lane:
			batch = append(batch, w)
		default:
			return batch
		}
	}
	return batch
}

// group is the asks of a batch that become one call.
type group struct {
	ask     Ask
	waiters []waiter
	cmd     *redis.Cmd
}

func groups(batch []waiter) []*group {
	byAsk := make(map[Ask]*group, len(batch))
	var out []*group
	for _, w := range batch {
		if w.ask.Back {
			out = append(out, &group{ask: w.ask, waiters: []waiter{w}})
			continue
		}
		k := w.ask
		k.Times = 0
		g := byAsk[k]
		if g == nil {
			g = &group{ask: k}
			byAsk[k], out = g, append(out, g)
		}
		if k.Each == 0 {
			g.ask.Times = 1
		} else {
			g.ask.Times += w.ask.Times
		}
		g.waiters = append(g.waiters, w)
	}
	return out
}

// send asks Redis in one pipeline; keys of a cluster go to their servers.
func (r *Redis) send(batch []waiter) {
	gs := groups(batch)
	r.sent(len(gs), len(batch))
	ctx, cancel := context.WithTimeout(context.Background(), r.o.Timeout)
	defer cancel()
	pipe := r.client.Pipeline()
	for _, g := range gs {
		g.cmd = pipe.EvalSha(ctx, r.sha, []string{redisKey(&g.ask)}, r.args(&g.ask)...)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var unknown []*group
	for _, g := range gs {
		if redis.HasErrorPrefix(g.cmd.Err(), "NOSCRIPT") {
			unknown = append(unknown, g)
		}
	}
	if len(unknown) > 0 { // Redis was restarted, or a server of the cluster is new
		pipe = r.client.Pipeline()
		for _, g := range unknown {
			g.cmd = pipe.Eval(ctx, script, []string{redisKey(&g.ask)}, r.args(&g.ask)...)
		}
		_, _ = pipe.Exec(ctx)
	}
	for _, g := range gs {
		g.deal(parse(g.cmd))
	}
}

// redisKey names the state of an ask. All of it is the hash tag: one key, one slot of a cluster.
func redisKey(a *Ask) string {
	return "mizzen:" + kindOf(a.Rule) + ":{" + a.Key + "}"
}

// kindOf is the script's letter for an algorithm.
func kindOf(r Rule) string {
	switch {
	case r.Sliding:
		return "w"
	case r.Bucket:
		return "b"
	}
	return "g"
}

func (r *Redis) args(a *Ask) []any {
	kind, back := kindOf(a.Rule), "0"
	if a.Back {
		back = "1"
	}
	return []any{kind, a.Rule.Requests, a.Rule.Per.Microseconds(), a.Rule.Burst, a.Each, a.Times, back, r.o.Skew().Microseconds()}
}

func parse(c *redis.Cmd) Answer {
	v, err := c.Int64Slice()
	if err != nil {
		return Answer{Err: fmt.Errorf("ask Redis: %w", err)}
	}
	if len(v) != 4 {
		return Answer{Err: fmt.Errorf("ask Redis: %d numbers in the answer, want 4", len(v))}
	}
	return Answer{Granted: uint32(v[0]), Remaining: uint32(v[1]),
		Reset: time.Duration(v[2]) * time.Microsecond, Retry: time.Duration(v[3]) * time.Microsecond}
}

// deal gives the group's grant to its waiters in the order in which they came.
func (g *group) deal(all Answer) {
	left := all.Granted
	for _, w := range g.waiters {
		a := all
		if all.Err == nil && w.ask.Each > 0 && !w.ask.Back {
			a.Granted = min(w.ask.Times, left)
			left -= a.Granted
			a.Remaining = all.Remaining + left*w.ask.Each
			if a.Granted == w.ask.Times {
				a.Retry = 0
			}
		}
		w.call.answer(w.i, a)
	}
}
