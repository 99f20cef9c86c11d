package ratelimit

import (
	"math"
	"strconv"
	"time"
)

// kind is an algorithm, or the counting of requests in progress.
type kind uint8

const (
	kindGCRA kind = iota
	kindTokenBucket
	kindSlidingWindow
	kindConcurrency
)

// slots is into how many parts a sliding window is cut. A request is forgotten at most 1/slots of the window late.
const slots = 16

// numbers are what one key is allowed. Comparable: equal numbers decide alike. All times are nanoseconds.
type numbers struct {
	kind     kind
	requests int64
	burst    int64 // for concurrency: the places
	per      int64
	step     int64 // GCRA: between two requests; sliding window: length of a slot. Rounded up: never too many pass.
	policy   string
	shadow   bool // what is over is told, not refused
}

// entry is the state of one key. What a, b and c mean depends on the kind:
//
//	GCRA            a: theoretical arrival time, when the bucket is full again
//	token bucket    a: tokens used up (0: full), b: time of the last fill
//	sliding window  win; a: number of the newest slot
//	concurrency     a: requests in progress
type entry struct {
	prev, next *entry // least and most recently used neighbours; nil outside the list
	key        string
	num        *numbers
	a, b       int64
	win        *[slots + 1]uint32
}

// outcome is what one limit says about one request.
type outcome struct {
	ok        bool
	remaining int64 // requests that may still come at once after this one
	reset     int64 // time until the whole quota is back; of a refusal: until one request may pass
}

// rate makes the numbers of a rate; burst 0 is requests.
func rate(k kind, requests, burst uint32, per time.Duration) *numbers {
	n := &numbers{kind: k, requests: int64(requests), burst: int64(burst), per: int64(per)}
	if burst == 0 || k == kindSlidingWindow {
		n.burst = n.requests
	}
	switch k {
	case kindGCRA:
		n.step = ceilDiv(n.per, n.requests)
	case kindSlidingWindow:
		n.step = ceilDiv(n.per, slots)
	}
	n.policy = n.limitHeader()
	return n
}

// limitHeader is the value of x-ratelimit-limit: the most that may come at once, then the policy.
func (n *numbers) limitHeader() string {
	s := strconv.FormatInt(n.burst, 10) + ", " + strconv.FormatInt(n.requests, 10) +
		";w=" + strconv.FormatInt(ceilDiv(n.per, int64(time.Second)), 10)
	if n.burst != n.requests {
		s += ";burst=" + strconv.FormatInt(n.burst, 10)
	}
	return s
}

// check says whether a request that counts for cost may pass, without counting it. e is nil for a key that is not known.
// One that costs more than burst never may; to its outcome it costs burst+1, so that no product overflows.
func (n *numbers) check(e *entry, now, cost int64) outcome {
	cost = min(cost, n.burst+1)
	if e == nil {
		return n.checkFresh(now, cost)
	}
	switch n.kind {
	case kindGCRA:
		return n.checkGCRA(e.a, now, cost)
	case kindTokenBucket:
		n.fill(e, now)
		return n.checkBucket(e, now, cost)
	case kindSlidingWindow:
		return n.checkWindow(e, now, cost)
	default:
		return outcome{ok: e.a < n.burst, remaining: n.burst - e.a - 1}
	}
}

func (n *numbers) checkFresh(now, cost int64) outcome {
	switch {
	case n.kind == kindGCRA:
		return n.checkGCRA(now, now, cost)
	case n.kind == kindConcurrency:
		return outcome{ok: true, remaining: n.burst - 1}
	case cost > n.burst:
		return outcome{reset: n.per}
	case n.kind == kindTokenBucket:
		return outcome{ok: true, remaining: n.burst - cost, reset: ceilDiv(cost, n.requests) * n.per}
	default:
		return outcome{ok: true, remaining: n.burst - cost, reset: n.per}
	}
}

func (n *numbers) checkGCRA(tat, now, cost int64) outcome {
	debt := max(tat, now) + n.step*cost - now
	if room := n.step*n.burst - debt; room >= 0 {
		return outcome{ok: true, remaining: room / n.step, reset: debt}
	}
	return outcome{reset: debt - n.step*n.burst}
}

// fill adds the tokens of the periods that have passed since the last fill.
func (n *numbers) fill(e *entry, now int64) {
	periods := (now - e.b) / n.per
	if periods <= 0 {
		return
	}
	e.b += periods * n.per
	if e.a <= 0 || periods > e.a/n.requests {
		e.a = 0
		return
	}
	e.a = max(0, e.a-periods*n.requests)
}

func (n *numbers) checkBucket(e *entry, now, cost int64) outcome {
	next := e.b + n.per - now // until the next fill
	left := n.burst - e.a - cost
	if left < 0 {
		return outcome{reset: next + (ceilDiv(-left, n.requests)-1)*n.per}
	}
	return outcome{ok: true, remaining: left, reset: next + (ceilDiv(e.a+cost, n.requests)-1)*n.per}
}

func (n *numbers) checkWindow(e *entry, now, cost int64) outcome {
	cur := now / n.step
	n.slide(e, cur)
	var used int64
	for _, c := range e.win {
		used += int64(c)
	}
	over := used + cost - n.requests
	if over <= 0 {
		return outcome{ok: true, remaining: -over, reset: (cur+slots+1)*n.step - now}
	}
	last := cur - slots // the slot with which enough is forgotten, the oldest first
	for ; last < cur; last++ {
		if over -= int64(e.win[last%(slots+1)]); over <= 0 {
			break
		}
	}
	return outcome{reset: (last+slots+1)*n.step - now}
}

// slide forgets the slots that have left the window that ends with slot cur.
func (n *numbers) slide(e *entry, cur int64) {
	if cur-e.a > slots {
		*e.win = [slots + 1]uint32{}
	} else {
		for i := e.a + 1; i <= cur; i++ {
			e.win[i%(slots+1)] = 0
		}
	}
	e.a = max(e.a, cur)
}

// take counts a request that check let pass at the same now and cost.
func (n *numbers) take(e *entry, now, cost int64) {
	switch n.kind {
	case kindGCRA:
		e.a = max(e.a, now) + n.step*cost
	case kindSlidingWindow:
		e.win[(now/n.step)%(slots+1)] += uint32(cost)
	default:
		e.a += cost
	}
}

// start gives a new entry the state of a key that has used nothing.
func (n *numbers) start(e *entry, now int64) {
	e.num = n
	switch n.kind {
	case kindGCRA:
		e.a = now
	case kindTokenBucket:
		e.b = now
	case kindSlidingWindow:
		e.a, e.win = now/n.step, new([slots + 1]uint32)
	}
}

// adopt makes n the numbers of an entry that lived under others of the same kind: what the key has used stays used,
// counted in requests, up to the whole of the new quota.
func (n *numbers) adopt(e *entry, now int64) {
	old := e.num
	e.num = n
	if *old == *n {
		return
	}
	switch n.kind {
	case kindGCRA:
		used := float64(max(0, e.a-now)) / float64(old.step)
		e.a = now + int64(math.Min(used*float64(n.step), float64(n.step*n.burst)))
	case kindTokenBucket:
		old.fill(e, now)
		e.a = min(e.a, n.burst)
		e.b = max(e.b, now-n.per)
	case kindSlidingWindow:
		old.slide(e, now/old.step)
		var used int64
		for _, c := range e.win {
			used += int64(c)
		}
		*e.win = [slots + 1]uint32{}
		e.a = now / n.step
		e.win[e.a%(slots+1)] = uint32(min(used, n.requests))
	}
}

// idle says that the entry holds nothing that a new one would not: it may be forgotten without loss.
func (e *entry) idle(now int64) bool {
	n := e.num
	switch n.kind {
	case kindGCRA:
		return e.a <= now
	case kindTokenBucket:
		n.fill(e, now)
		return e.a == 0
	case kindSlidingWindow:
		return now/n.step-e.a > slots
	default:
		return e.a == 0
	}
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }
