package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// shards is over how many locks the keys are spread.
const shards = 64

// DefaultMaxKeys is how many keys a Memory remembers if it is not told.
const DefaultMaxKeys = 1 << 20

// Memory counts in this process. Safe for concurrent use.
type Memory struct {
	now    func() time.Time
	start  time.Time
	seed   maphash.Seed
	cap    int // keys for each shard
	shards [shards]shard
}

// shard holds some of the keys, in a ring ordered by use: root.next is the most, root.prev the least recently used.
type shard struct {
	mu   sync.Mutex
	keys map[string]*entry
	root entry
	_    [64]byte // its own cache line
}

type entry struct {
	prev, next *entry
	key        string
	rule       Rule
	state      state
}

// NewMemory makes an empty store that reads time from now. maxKeys bounds the keys it remembers (0: DefaultMaxKeys):
// the longest unused goes first.
func NewMemory(now func() time.Time, maxKeys int) *Memory {
	if maxKeys <= 0 {
		maxKeys = DefaultMaxKeys
	}
	m := &Memory{now: now, start: now(), seed: maphash.MakeSeed(), cap: max(1, maxKeys/shards)}
	for i := range m.shards {
		s := &m.shards[i]
		s.keys = map[string]*entry{}
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return m
}

// origin keeps times positive: a window may begin before the store did.
const origin = int64(1) << 52

// Take implements Store. It never fails.
func (m *Memory) Take(_ context.Context, asks []Ask) []Answer {
	now := origin + m.now().Sub(m.start).Microseconds()
	out := make([]Answer, len(asks))
	for i := range asks {
		out[i] = m.shards[maphash.String(m.seed, asks[i].Key)%shards].take(&asks[i], now, m.cap)
	}
	return out
}

// Len is how many keys are remembered.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		m.shards[i].mu.Lock()
		n += len(m.shards[i].keys)
		m.shards[i].mu.Unlock()
	}
	return n
}

func (s *shard) take(a *Ask, now int64, limit int) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.keys[a.Key]
	switch {
	case e == nil:
		s.makeRoom(now, limit)
		e = &entry{key: a.Key}
		s.keys[a.Key] = e
	default:
		e.unlink()
	}
	e.prev, e.next = &s.root, s.root.next
	e.next.prev, s.root.next = e, e
	if e.rule.Sliding != a.Rule.Sliding || e.rule.Bucket != a.Rule.Bucket {
		e.state = state{} // another algorithm: nothing to carry over
	}
	e.rule = a.Rule
	return e.state.take(a, now)
}

// makeRoom forgets the longest unused key at the cap, and a few that hold nothing any more.
func (s *shard) makeRoom(now int64, limit int) {
	for swept := 0; len(s.keys) > 0; swept++ {
		oldest := s.root.prev
		if len(s.keys) < limit && (swept == 2 || !oldest.state.idle(oldest.rule, now)) {
			return
		}
		oldest.unlink()
		delete(s.keys, oldest.key)
	}
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
