package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"
)

// refusals remembers which keys the rate-limit service has refused, and until when: they need not be asked for.
// Shared by the workers. Bounded; what it forgets is asked for again.
type refusals struct {
	seed   maphash.Seed
	shards [manyShards]refusalShard
}

type refusalShard struct {
	mu   sync.Mutex
	keys map[string]refusal
	_    [40]byte
}

// refusal holds Unix nanoseconds: until when it is believed, and when the service said that it ends.
type refusal struct{ until, end int64 }

// maxBelieved is how long a refusal is believed: after that the service is asked again, which may have new numbers.
const maxBelieved = 10 * time.Second

func newRefusals() *refusals {
	r := &refusals{seed: maphash.MakeSeed()}
	for i := range r.shards {
		r.shards[i].keys = map[string]refusal{}
	}
	return r
}

func (r *refusals) shard(key []byte) *refusalShard {
	return &r.shards[maphash.Bytes(r.seed, key)%manyShards]
}

// left is how long key is refused, 0 if it is not known to be.
func (r *refusals) left(key []byte, now int64) int64 {
	s := r.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.keys[string(key)]
	if !ok {
		return 0
	}
	if e.until > now && e.until-now <= int64(maxBelieved) { // else it is over, or somebody set the clock back
		return e.end - now
	}
	delete(s.keys, string(key))
	return 0
}

// add remembers a refusal that ends in wait. limit bounds the keys.
func (r *refusals) add(key []byte, now int64, wait time.Duration, limit int) {
	s, limit := r.shard(key), max(1, limit/manyShards)
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.keys { // in no order: those that are over go, and at the cap one that is not
		if len(s.keys) < limit && e.until > now {
			break
		}
		delete(s.keys, k)
	}
	s.keys[string(key)] = refusal{until: now + int64(min(wait, maxBelieved)), end: now + int64(min(wait, maxSpan))}
}
