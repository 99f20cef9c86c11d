package dynmod

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// fakePost is Envoy with one main thread, that of the test: knocks wait until visit.
type fakePost struct {
	mu      sync.Mutex
	knocks  chan *listener
	cleared map[*listener]bool
	calls   []*filter.Call
	fail    *filter.Answer
}

func (f *fakePost) knock(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cleared[l] {
		panic("knocked on a desk that is cleared")
	}
	select {
	case f.knocks <- l:
	default:
	}
}

func (f *fakePost) clear(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleared[l] = true
}

func (f *fakePost) send(_ *listener, c *filter.Call) (uint64, *filter.Answer) {
	f.calls = append(f.calls, c)
	return uint64(len(f.calls)), f.fail
}

// bag is an Outbox of calls.
type bag struct {
	mu      sync.Mutex
	waiting []*filter.Call
	out     int
	answers []*filter.Answer
	closed  bool
}

func (b *bag) Period() time.Duration { return 10 * time.Millisecond }

func (b *bag) Next(time.Time, filter.Meter) *filter.Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return nil
	}
	c := b.waiting[0]
	b.waiting, b.out = b.waiting[1:], b.out+1
	return c
}

func (b *bag) Answered(_ *filter.Call, a *filter.Answer, _ time.Time, m filter.Meter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out--
	b.answers = append(b.answers, a)
	m.Count(requests, 1, "v1")
}

func (b *bag) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}

func (b *bag) Empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)+b.out == 0
}

func (b *bag) put(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range n {
		b.waiting = append(b.waiting, &filter.Call{Cluster: "collector"})
	}
}

// bagged is a policy with an outbox.
type bagged struct{ bag *bag }

func (bagged) Request(*filter.Exchange) filter.Verdict  { return filter.Verdict{} }
func (bagged) Response(*filter.Exchange) filter.Verdict { return filter.Verdict{} }
func (p bagged) Outbox() filter.Outbox                  { return p.bag }

func postForTest() (*postOffice, *fakePost) {
	f := &fakePost{knocks: make(chan *listener, 1), cleared: map[*listener]bool{}}
	return newPostOffice(f), f
}

func listenerWith(bags ...*bag) *listener {
	l := &listener{program: &filter.Program{}, ledger: newLedger()}
	l.ledger.ids[requests] = 1
	for _, b := range bags {
		l.program.Policies = append(l.program.Policies, bagged{b})
	}
	return l
}

func knocked(t *testing.T, f *fakePost) *listener {
	t.Helper()
	select {
	case l := <-f.knocks:
		return l
	case <-time.After(30 * time.Second):
		t.Fatal("nobody knocks")
		return nil
	}
}

// stopped awaits the end of the goroutine.
func stopped(t *testing.T, p *postOffice) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		p.mu.Lock()
		running := p.running
		p.mu.Unlock()
		if !running {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the goroutine does not end")
		}
		runtime.Gosched()
	}
}

func TestPostSendsAndCounts(t *testing.T) {
	p, f := postForTest()
	b := &bag{}
	l := listenerWith(b, b)
	p.open(l)
	b.put(2)
	p.serve(knocked(t, f))
	if len(f.calls) != 2 {
		t.Fatalf("%d calls, want 2", len(f.calls))
	}
	b.put(1)
	p.answered(l, 1, &filter.Answer{Body: []byte("x")})
	if len(f.calls) != 3 || len(b.answers) != 1 || string(b.answers[0].Body) != "x" {
		t.Errorf("after an answer: %d calls, answers %v", len(f.calls), b.answers)
	}
	p.answered(l, 1, &filter.Answer{})
	p.answered(l, 99, &filter.Answer{})
	if len(b.answers) != 1 {
		t.Error("an answer that nobody waits for was passed on")
	}
	e := &envoy{told: map[string]int64{}}
	l.ledger.flush(e)
	if e.told["1[v1]"] != 1 {
		t.Errorf("told %v", e.told)
	}
	p.close(l)
	if len(b.answers) != 3 || b.answers[2].Err == "" || !b.closed || !f.cleared[l] {
		t.Errorf("after the end: answers %v, closed %v", b.answers, b.closed)
	}
	stopped(t, p)
}

func TestPostCallThatDoesNotStart(t *testing.T) {
	p, f := postForTest()
	b := &bag{}
	l := listenerWith(b)
	f.fail = &filter.Answer{Err: "no such cluster"}
	p.open(l)
	b.put(1)
	p.serve(knocked(t, f))
	if len(b.answers) != 1 || b.answers[0].Err != "no such cluster" || len(p.desks[l]) != 0 {
		t.Errorf("answers %v, under way %v", b.answers, p.desks[l])
	}
	p.close(l)
	stopped(t, p)
}

// A route's outbox is served by any listener that lives, and after the route is gone until it is empty.
func TestPostServesRoutesAndTheirRemains(t *testing.T) {
	p, f := postForTest()
	b := &bag{}
	l, route := listenerWith(), listenerWith(b).program
	p.open(l)
	if p.running {
		t.Error("a goroutine for nothing")
	}
	p.refer(route)
	b.put(1)
	p.serve(knocked(t, f))
	p.answered(l, 1, &filter.Answer{})
	b.put(1)
	p.release(route)
	if !b.closed {
		t.Error("not closed")
	}
	p.serve(knocked(t, f))
	p.answered(l, 2, &filter.Answer{})
	stopped(t, p)
	if len(f.calls) != 2 || len(b.answers) != 2 {
		t.Errorf("%d calls, %d answers", len(f.calls), len(b.answers))
	}
	p.close(l)
}

// An update of the configuration: the new listener comes before the old one goes, and the outbox stays open.
func TestPostOverAnUpdate(t *testing.T) {
	p, f := postForTest()
	b := &bag{}
	before, after := listenerWith(b), listenerWith(b)
	p.open(before)
	b.put(1)
	p.serve(knocked(t, f))
	p.open(after)
	p.close(before)
	if b.closed || len(b.answers) != 1 {
		t.Errorf("closed %v, answers %v", b.closed, b.answers)
	}
	b.put(1)
	for { // a knock for the old one may have been under way
		if l := knocked(t, f); l == after {
			p.serve(l)
			break
		}
	}
	if len(f.calls) != 2 {
		t.Errorf("%d calls", len(f.calls))
	}
	p.close(after)
	stopped(t, p)
}
