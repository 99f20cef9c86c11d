package ratelimit

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Sharding: below minSharded keys one shard keeps the cap and the order of eviction exact; above, each of manyShards
// has its part of the cap.
const (
	manyShards = 32
	minSharded = 4096
)

// origin is where a shard's clock starts, in ns: later than any window is long, so that no time is negative.
const origin = int64(2 * maxSpan)

// maxStepBack is how far time may run backwards without being taken for a clock that was set: workers read the clock
// before they take the lock.
const maxStepBack = int64(time.Second)

// store is the state of all keys of one limit, shared by the workers and by successive configurations.
type store struct {
	id     string // orders the locks of several stores
	seed   maphash.Seed
	cap    atomic.Int64 // keys for each shard
	shards []shard
}

// shard holds some of the keys. Its own clock never runs backwards.
type shard struct {
	mu    sync.Mutex
	store *store
	keys  map[string]*entry
	root  entry     // list of the entries: root.next is the most, root.prev the least recently used
	base  time.Time // the first time seen
	last  int64     // newest time seen, in the shard's own time
	shift int64     // added to the time since base, to make up for clocks that were set back
	_     [40]byte
}

func newStore(id string, count int) *store {
	s := &store{id: id, seed: maphash.MakeSeed(), shards: make([]shard, count)}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.store, sh.keys = s, make(map[string]*entry)
		sh.root.prev, sh.root.next = &sh.root, &sh.root
	}
	return s
}

// shardCount is how many shards a store for maxKeys gets. It keeps them when the cap changes later.
func shardCount(maxKeys int) int {
	if maxKeys < minSharded {
		return 1
	}
	return manyShards
}

func (s *store) setCap(maxKeys int) { s.cap.Store(int64(max(1, maxKeys/len(s.shards)))) }

func (s *store) shard(key []byte) *shard {
	if len(s.shards) == 1 {
		return &s.shards[0]
	}
	return &s.shards[maphash.Bytes(s.seed, key)%manyShards]
}

// clock turns t into the shard's own time, in ns, which starts at origin and never runs backwards. Small steps back
// stand still; after a large one, when somebody set the clock back, time goes on from where it was.
func (sh *shard) clock(t time.Time) int64 {
	if sh.base.IsZero() {
		sh.base = t
	}
	now := origin + int64(t.Sub(sh.base)) + sh.shift
	if now < sh.last {
		if sh.last-now > maxStepBack {
			sh.shift += sh.last - now
		}
		return sh.last
	}
	sh.last = now
	return now
}

// find returns the entry of key, nil if it is not known, and marks it as used.
func (sh *shard) find(key []byte) *entry {
	e := sh.keys[string(key)]
	if e != nil && sh.root.next != e {
		e.unlink()
		sh.pushFront(e)
	}
	return e
}

// add makes an entry for key. To keep to the cap it forgets the longest unused: it returns by how much the number of
// keys changed and how many of those forgotten still held something.
func (sh *shard) add(key []byte, n *numbers, now int64) (e *entry, delta, evicted int64) {
	limit := int(sh.store.cap.Load())
	for swept := 0; len(sh.keys) > 0; swept++ {
		oldest := sh.root.prev
		idle := oldest.idle(now)
		if len(sh.keys) < limit && (swept == 2 || !idle) {
			break
		}
		oldest.unlink()
		delete(sh.keys, oldest.key)
		delta--
		if !idle {
			evicted++
		}
	}
	e = &entry{key: string(key)}
	n.start(e, now)
	sh.keys[e.key] = e
	sh.pushFront(e)
	return e, delta + 1, evicted
}

func (sh *shard) pushFront(e *entry) {
	e.prev, e.next = &sh.root, sh.root.next
	e.next.prev, sh.root.next = e, e
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
