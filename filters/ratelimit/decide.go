package ratelimit

import (
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Metrics of the policy.
var (
	metricRequests = &filter.Metric{
		Name:   "ratelimit_requests_total",
		Help:   "Requests by limit: ok were counted against it, limited were refused by it, shadow_limited would have been.",
		Labels: []string{"limit", "result", "scope"},
	}
	metricKeys = &filter.Metric{
		Name: "ratelimit_keys", Help: "Keys remembered by a limit.", Labels: []string{"limit"}, Gauge: true,
	}
	metricEvictions = &filter.Metric{
		Name: "ratelimit_evictions_total", Labels: []string{"limit"},
		Help: "Keys forgotten at the cap on keys although they had used some of their quota.",
	}
)

// hit is one limit that bears on the request being decided.
type hit struct {
	limit   *limit
	from    int // the key is keys[from:to], so that hits hold no pointer to the buffer and it stays off the heap
	to      int
	num     *numbers
	cost    int64 // for how many requests it counts
	shadow  bool  // would not be refused
	shard   *shard
	entry   *entry // nil: the key is not known
	now     int64
	out     outcome
	delta   int64 // by how much the number of keys changed
	evicted int64
}

// typicalHits and typicalKeys are how much a decision holds without the heap.
const (
	typicalHits = 4
	typicalKeys = 128
)

// kept is what an exchange keeps from its request to its end.
type kept struct {
	places []place
}

// place is a request in progress that a concurrency limit counts.
type place struct {
	shard *shard
	entry *entry
}

// Request implements filter.Policy.
func (p *Policy) Request(x *filter.Exchange) filter.Verdict {
	if p.global != nil {
		if x.Resumed() {
			return p.global.answered(p, x)
		}
		if v, decided := p.global.request(p, x); decided {
			return v
		}
	}
	if x.Resumed() {
		return filter.Verdict{}
	}
	return p.local(x, p.limits, p.seed(x), nil)
}

// seed is what decides, for one exchange, for whom limits are enabled and enforced: drawn once, however often they are asked.
func (p *Policy) seed(x *filter.Exchange) uint64 {
	if !p.draws {
		return 0
	}
	return x.Rand.Uint64()
}

// asked draws whether the limit is asked, and whether it is enforced.
func (l *limit) asked(seed uint64) (asked, enforced bool) {
	if l.enabled == filter.Whole && l.enforced == filter.Whole {
		return true, true
	}
	draw := draws(seed + uint64(l.index)*0x9e3779b97f4a7c15)
	return l.enabled.Hit(&draw), l.enforced.Hit(&draw)
}

// draws is splitmix64: a few numbers out of one.
type draws uint64

// Uint64 implements filter.Rand.
func (d *draws) Uint64() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// local asks limits, which this process counts, and adds what the rate-limit service has let pass.
func (p *Policy) local(x *filter.Exchange, limits []*limit, seed uint64, global []hit) filter.Verdict {
	var (
		hitBuf [typicalHits]hit
		keyBuf [typicalKeys]byte
	)
	hits, keys := gather(x, limits, seed, hitBuf[:0], keyBuf[:0])
	if len(hits)+len(global) == 0 {
		x.Done()
		return filter.Verdict{}
	}
	refusal := decide(hits, keys, x.Now, true)
	if refusal == nil {
		hits = append(hits, global...)
	}
	count(x, hits, refusal)
	if refusal != nil {
		return p.refusal(x, refusal)
	}
	p.keep(x, hits)
	return filter.Verdict{}
}

// look says whether a local limit would refuse, and counts the request only then.
func (p *Policy) look(x *filter.Exchange, seed uint64) (v filter.Verdict, refused bool) {
	var (
		hitBuf [typicalHits]hit
		keyBuf [typicalKeys]byte
	)
	hits, keys := gather(x, p.limits, seed, hitBuf[:0], keyBuf[:0])
	refusal := decide(hits, keys, x.Now, false)
	if refusal == nil {
		return filter.Verdict{}, false
	}
	count(x, hits, refusal)
	return p.refusal(x, refusal), true
}

// gather appends the limits that bear on the request to hits, and their keys to keys.
func gather(x *filter.Exchange, limits []*limit, seed uint64, hits []hit, keys []byte) ([]hit, []byte) {
	for _, l := range limits {
		if l.any != nil && !l.any.Matches(x.Request) {
			continue
		}
		asked, enforced := l.asked(seed)
		if !asked {
			continue
		}
		from := len(keys)
		keys = l.appendKey(keys, x)
		h := hit{limit: l, num: l.num, cost: l.cost.of(x), from: from, to: len(keys)}
		if l.exact != nil || l.wild != nil {
			h.num = l.numbersFor(x, keys[from:])
		}
		h.shadow = h.num.shadow || !enforced
		h.shard = l.store.shard(keys[from:])
		hits = append(hits, h)
	}
	return hits, keys
}

func (p *Policy) refusal(x *filter.Exchange, h *hit) filter.Verdict {
	x.Host.Annotate("ratelimit", h.limit.name)
	x.Done()
	return filter.Verdict{Reply: p.refuse(x, h)}
}

// decide asks every limit, and counts the request against all of them, or, if one that is enforced refuses, against
// none. It holds the locks of all keys meanwhile, so that a refusal takes nothing from anybody, not even for a
// moment. Returned is the refusal with the longest wait, nil if the request may pass. Without take it only asks.
func decide(hits []hit, keys []byte, t time.Time, take bool) (refusal *hit) {
	for i := range hits {
		hits[i].shard.mu.Lock()
	}
	defer unlock(hits)
	for i := range hits {
		h := &hits[i]
		h.now = h.shard.clock(t)
		h.entry = h.shard.find(keys[h.from:h.to])
		if h.entry != nil && h.entry.num != h.num {
			h.num.adopt(h.entry, h.now)
		}
		h.out = h.num.check(h.entry, h.now, h.cost)
		if h.out.ok || h.shadow {
			continue
		}
		if refusal == nil || h.out.reset > refusal.out.reset ||
			h.out.reset == refusal.out.reset && h.limit.index < refusal.limit.index {
			refusal = h
		}
	}
	if refusal != nil || !take {
		return refusal
	}
	for i := range hits {
		if h := &hits[i]; h.out.ok {
			if h.entry == nil {
				h.entry, h.delta, h.evicted = h.shard.add(keys[h.from:h.to], h.num, h.now)
			}
			h.num.take(h.entry, h.now, h.cost)
		}
	}
	return nil
}

func unlock(hits []hit) {
	for i := range hits {
		hits[i].shard.mu.Unlock()
	}
}

// count tells the metrics. Of a refused request only the refusals are counted: no other limit had it to decide.
func count(x *filter.Exchange, hits []hit, refusal *hit) {
	for i := range hits {
		h := &hits[i]
		l := h.limit
		switch {
		case h.out.ok && refusal == nil:
			x.Host.Count(metricRequests, 1, l.ok...)
		case !h.out.ok && !h.shadow:
			x.Host.Count(metricRequests, 1, l.limited...)
		case !h.out.ok && refusal == nil:
			x.Host.Count(metricRequests, 1, l.shadowed...)
			x.Host.Annotate("ratelimit_shadow", l.name)
		}
		if h.delta != 0 {
			x.Host.Count(metricKeys, h.delta, l.ok[:1]...)
		}
		if h.evicted != 0 {
			x.Host.Count(metricEvictions, h.evicted, l.ok[:1]...)
		}
	}
}

// keep remembers what the end must give back, and says what the response must tell.
func (p *Policy) keep(x *filter.Exchange, hits []hit) {
	var (
		k        *kept
		tightest *hit
	)
	for i := range hits {
		h := &hits[i]
		switch {
		case !h.out.ok:
		case h.num.kind == kindConcurrency:
			if k == nil {
				k = p.pool.Get().(*kept)
			}
			k.places = append(k.places, place{h.shard, h.entry})
		case p.headers && !h.limit.quiet && !h.shadow && (tightest == nil || h.tighter(tightest)):
			tightest = h
		}
	}
	if tightest != nil {
		tell(x, tightest)
	}
	if k == nil {
		x.Done()
		return
	}
	x.SetState(k)
}

// tighter says that h leaves the client less than other, or as little for longer.
func (h *hit) tighter(other *hit) bool {
	return h.out.remaining < other.out.remaining ||
		h.out.remaining == other.out.remaining && h.out.reset > other.out.reset
}
