package dynmod

// #include "envoy.h"
import "C"

import (
	"maps"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// postOffice makes the calls that policies want made outside of exchanges (filter.Outbox), those of routes too. Envoy
// makes such calls on its main thread only, on behalf of a listener's configuration. So one goroutine, which lives as
// long as there is an outbox, asks the main thread in time to come and look, through the scheduler of one
// configuration that lives; on the main thread the outboxes are asked, and the calls made.
//
// Envoy drops a configuration on any thread. Its scheduler is used and deleted under mu, and nothing else of it is
// touched but from the main thread's visits, during which Envoy holds on to it.
type postOffice struct {
	post poster

	mu      sync.Mutex
	boxes   map[filter.Outbox]*box
	desks   map[*listener]map[uint64]posted // the listeners that live, and their calls under way
	running bool                            // the goroutine is
	wake    chan struct{}
}

// poster is Envoy, or a test's.
type poster interface {
	// knock asks the main thread to call serve. It may be called from any thread.
	knock(l *listener)
	// send starts a call, on the main thread. A non-nil Answer says that it did not start.
	send(l *listener, c *filter.Call) (id uint64, failed *filter.Answer)
	// clear gives up a listener's desk.
	clear(l *listener)
}

// box is what the post office knows of an outbox.
type box struct {
	refs int       // programs that refer to it
	end  time.Time // without any: when it is given up
}

type posted struct {
	box  filter.Outbox
	call *filter.Call
}

const (
	// afterlife is how long an outbox that no program refers to is sent empty.
	afterlife = 10 * time.Second
	// maxCalls bounds the calls made for one outbox in one visit.
	maxCalls = 32
)

func newPostOffice(p poster) *postOffice {
	return &postOffice{post: p, boxes: map[filter.Outbox]*box{}, desks: map[*listener]map[uint64]posted{}, wake: make(chan struct{}, 1)}
}

// open adds a listener.
func (p *postOffice) open(l *listener) {
	p.mu.Lock()
	p.desks[l] = map[uint64]posted{}
	p.mu.Unlock()
	p.refer(l.program)
}

// refer notes that a program is in use.
func (p *postOffice) refer(program *filter.Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range program.Outboxes() {
		b := p.boxes[o]
		if b == nil {
			b = &box{}
			p.boxes[o] = b
		}
		b.refs++
	}
	if len(p.boxes) > 0 && !p.running {
		p.running = true
		go p.run()
	}
}

// release notes that a program is gone. What waits in outboxes that nobody refers to any more is sent without delay.
func (p *postOffice) release(program *filter.Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range program.Outboxes() {
		b := p.boxes[o]
		if b == nil {
			continue
		}
		if b.refs--; b.refs == 0 {
			o.Close()
			b.end = time.Now().Add(afterlife)
		}
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close removes a listener. Envoy drops the calls that it has under way.
func (p *postOffice) close(l *listener) {
	p.mu.Lock()
	lost := p.desks[l]
	delete(p.desks, l)
	p.post.clear(l)
	p.mu.Unlock()
	now := time.Now()
	for _, id := range slices.Sorted(maps.Keys(lost)) {
		lost[id].box.Answered(lost[id].call, &filter.Answer{Err: "the configuration is gone"}, now, meter{l})
	}
	p.release(l.program)
}

// run asks the main thread to come until there is no outbox left.
func (p *postOffice) run() {
	for {
		period, ok := p.round()
		if !ok {
			return
		}
		timer := time.NewTimer(period)
		select {
		case <-timer.C:
		case <-p.wake:
			timer.Stop()
		}
	}
}

// round knocks once, and says when to do so again; false: there is no outbox left.
func (p *postOffice) round() (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, period, waiting := time.Now(), time.Minute, false
	for o, b := range p.boxes {
		if b.refs == 0 && (o.Empty() || now.After(b.end)) {
			delete(p.boxes, o)
			continue
		}
		period = min(period, o.Period())
		waiting = waiting || !o.Empty()
	}
	if len(p.boxes) == 0 {
		p.running = false
		return 0, false
	}
	if l := p.busiest(); l != nil && waiting {
		p.post.knock(l)
	}
	return max(period, 10*time.Millisecond), true
}

// busiest is the listener that told Envoy its counters last, so that those of the outboxes are told soon; nil if none
// lives.
func (p *postOffice) busiest() *listener {
	var best *listener
	for l := range p.desks {
		if best == nil || l.ledger.told.Load() > best.ledger.told.Load() {
			best = l
		}
	}
	return best
}

// serve makes the calls that outboxes want, on the main thread, on behalf of l.
func (p *postOffice) serve(l *listener) {
	p.mu.Lock()
	boxes := slices.Collect(maps.Keys(p.boxes))
	p.mu.Unlock()
	for _, o := range boxes {
		p.empty(l, o)
	}
}

// empty makes calls for one outbox until it wants none.
func (p *postOffice) empty(l *listener, o filter.Outbox) {
	for range maxCalls {
		c := o.Next(time.Now(), meter{l})
		if c == nil {
			return
		}
		id, failed := p.post.send(l, c)
		if failed != nil {
			o.Answered(c, failed, time.Now(), meter{l})
			continue
		}
		p.mu.Lock()
		if calls := p.desks[l]; calls != nil {
			calls[id] = posted{o, c}
		}
		p.mu.Unlock()
	}
}

// answered passes an answer on, and makes the next call if there is one, on the main thread.
func (p *postOffice) answered(l *listener, id uint64, a *filter.Answer) {
	p.mu.Lock()
	sent, ok := p.desks[l][id]
	delete(p.desks[l], id)
	p.mu.Unlock()
	if ok {
		sent.box.Answered(sent.call, a, time.Now(), meter{l})
		p.empty(l, sent.box)
	}
}

// meter counts on behalf of a listener. Envoy takes counts from streams only: the ledger keeps the sums, and the next
// request tells them.
type meter struct{ l *listener }

// Count implements filter.Meter.
func (m meter) Count(metric *filter.Metric, n int64, labels ...string) {
	m.l.ledger.count(nobody{}, metric, n, labels)
}

// nobody is a teller for counts that cannot be added up: they are lost.
type nobody struct{}

func (nobody) move(uint64, bool, int64, []string) {}

// envoyPost is Envoy as a poster.
type envoyPost struct{}

func (envoyPost) knock(l *listener) { C.mz_knock(l.desk) }

func (envoyPost) clear(l *listener) { C.mz_clear(l.desk) }

func (envoyPost) send(l *listener, c *filter.Call) (uint64, *filter.Answer) {
	texts, count, ms := encodeCall(c)
	var id C.uint64_t
	res := C.mz_post(l.config, unsafe.Pointer(&texts[0]), C.size_t(len(texts)), count, ms, &id)
	return uint64(id), failedStart(res)
}
