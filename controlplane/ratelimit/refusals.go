package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

// refusals remembers which keys have nothing left, and until when: they need not be asked for. Bounded; what it
// forgets is asked for again. Safe for concurrent use.
type refusals struct {
	seed   maphash.Seed
	cap    int // for each shard
	shards [shards]refusalShard
}

type refusalShard struct {
	mu   sync.Mutex
	keys map[string]refusal
	_    [64]byte
}

type refusal struct {
	until time.Time
	rule  Rule // under another rule it means nothing
}

// maxRefusals bounds the keys remembered.
const maxRefusals = 1 << 17

func newRefusals() *refusals {
	r := &refusals{seed: maphash.MakeSeed(), cap: maxRefusals / shards}
	for i := range r.shards {
		r.shards[i].keys = map[string]refusal{}
	}
	return r
}

// left is how long key has nothing left; 0: ask.
func (r *refusals) left(key string, rule Rule, now time.Time) time.Duration {
	s := &r.shards[maphash.String(r.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.keys[key]
	if !ok {
		return 0
	}
	if d := e.until.Sub(now); d > 0 && e.rule == rule {
		return d
	}
	delete(s.keys, key)
	return 0
}

func (r *refusals) add(key string, rule Rule, until, now time.Time) {
	s := &r.shards[maphash.String(r.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.keys { // in no order: those that are over go, and at the cap one that is not
		if len(s.keys) < r.cap && e.until.After(now) {
			break
		}
		delete(s.keys, k)
	}
	s.keys[key] = refusal{until, rule}
}

// drop forgets key: it was given something back.
func (r *refusals) drop(key string) {
	s := &r.shards[maphash.String(r.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, key)
}
