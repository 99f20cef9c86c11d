package conformance

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Slack is how much later than promised something may happen by the wall clock. Delays that must not happen are longer.
const Slack = 10 * time.Second

// Early is how much earlier than promised a delay may end by the wall clock. Envoy's timers count in ticks of the
// kernel's coarse clock (libevent reads CLOCK_MONOTONIC_COARSE), of which the longest is 10 ms.
const Early = 10 * time.Millisecond

// Tally counts what became of the cases.
type Tally struct{ Cases, Passed, Skipped int }

// Run runs the cases against an executor, a subtest each, and prints the executor's line:
// "executor NAME cases N passed N skipped N".
func Run(t *testing.T, ex Executor, cases []*Case) Tally {
	t.Helper()
	results := make([]result, len(cases))
	play := func(alone bool, parallel int) {
		places := make(chan struct{}, parallel)
		var wg sync.WaitGroup
		for i, c := range cases {
			if c.Alone != alone {
				continue
			}
			places <- struct{}{}
			wg.Go(func() {
				results[i] = runCase(ex, c)
				<-places
			})
		}
		wg.Wait()
	}
	parallel, _ := ex.Parallel()
	play(false, parallel)
	play(true, 1)
	tally := Tally{Cases: len(cases)}
	for i, c := range cases {
		r := results[i]
		t.Run(c.Area+"/"+c.Title, func(t *testing.T) {
			if r.skip != "" {
				t.Skip(r.skip)
			}
			for _, l := range r.late {
				t.Log(l)
			}
			for _, w := range r.wrong {
				t.Error(w)
			}
		})
		switch {
		case r.skip != "":
			tally.Skipped++
		case len(r.wrong) == 0:
			tally.Passed++
		}
	}
	if n := late(results); n > 0 {
		fmt.Printf("note: %d answers of %s came too late to be judged: the machine was busy\n", n, ex.Name())
	}
	fmt.Printf("executor %s cases %d passed %d skipped %d\n", ex.Name(), tally.Cases, tally.Passed, tally.Skipped)
	return tally
}

// late tells how many answers came too late to be judged.
func late(results []result) (n int) {
	for _, r := range results {
		n += len(r.late)
	}
	return n
}

// Wrong runs one case, whatever its Not says, and tells what is not as it must be.
func Wrong(ex Executor, c *Case) []string {
	own := *c
	own.Not = nil
	return runCase(ex, &own).wrong
}

type result struct {
	skip string
	// late are the steps that were not judged, because the machine was too busy.
	late, wrong []string
}

func runCase(ex Executor, c *Case) (r result) {
	if reason := c.Not[ex.Name()]; reason != "" {
		return result{skip: reason}
	}
	if reason := ex.Refuses(c); reason != "" {
		return result{skip: reason}
	}
	s, err := ex.Open(c)
	if err != nil {
		return result{wrong: []string{err.Error()}}
	}
	defer s.Close()
	p := &player{ex: ex, session: s, caught: caught{}}
	p.steps("steps", c.Steps)
	if ex.Sees(SeesCounters) && len(p.late) == 0 { // a step that was too late counts as something else
		p.counters(c)
	}
	return result{late: p.late, wrong: p.wrong}
}

// player plays the steps of one case.
type player struct {
	ex      Executor
	session Session
	caught  caught
	late    []string
	wrong   []string
	// sent is when the latest step, or the first request of it, was sent. Zero where time is moved by hand.
	sent time.Time
}

func (p *player) fail(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

func (p *player) steps(at string, steps []Step) {
	for i := range steps {
		p.step(fmt.Sprintf("%s[%d]", at, i), &steps[i])
	}
}

func (p *player) step(at string, s *Step) {
	r := &Request{Headers: slices.Clone(s.Headers), At: time.Duration(s.At), Source: s.From, Seed: s.Seed,
		Leaves: time.Duration(s.Leaves), Answer: s.Answer, While: s.While, Watch: s.watch()}
	r.Method, r.Path = s.request()
	if r.Source == "" {
		r.Source = "127.0.0.1"
	}
	for i, h := range r.Headers {
		var err error
		if r.Headers[i], err = p.caught.fill(h); err != nil {
			p.fail("%s: %v", at, err)
			return
		}
	}
	before, own := p.sent, time.Time{}
	var first sync.Once
	r.Sending = func(now time.Time) {
		first.Do(func() {
			own = now
			p.sent = own
		})
	}
	if s.Times > 1 {
		p.repeat(at, s, r, before)
		return
	}
	during := 0
	if s.While != "" {
		r.During = func() {
			during++
			p.steps(at+".meanwhile", s.Meanwhile)
		}
	}
	o, err := p.session.Do(r)
	p.sent = own // not that of a step of meanwhile
	if err != nil {
		p.fail("%s: %v", at, err)
		return
	}
	if s.While != "" && during != 1 {
		p.fail("%s: it was never %s, so nothing happened meanwhile", at, s.While)
	}
	if p.inTime(at, s, before, o.Answered) {
		p.compare(at, &s.Expect, o)
	}
}

// inTime tells whether an answer came soon enough to be judged. before is when the step before was sent.
func (p *player) inTime(at string, s *Step, before, answered time.Time) bool {
	limit := time.Duration(s.Within)
	if limit == 0 || before.IsZero() || answered.IsZero() {
		return true
	}
	took := answered.Sub(before)
	if took > limit {
		p.late = append(p.late, fmt.Sprintf("%s: not judged: answered %v after the step before was sent, which is more than %v", at, took, limit))
	}
	return took <= limit
}

// watch tells whether the expectation needs the access log.
func (s *Step) watch() bool {
	e := &s.Expect
	if e.Details != "" || e.Route != "" || e.Annotations != nil || e.Flags != nil {
		return true
	}
	for name := range e.Shares {
		if isFlag(name) {
			return true
		}
	}
	return false
}

func (p *player) compare(at string, e *Expect, o *Outcome) {
	if o.Gone != e.Gone {
		p.fail("%s: client left without an answer: %v, want %v", at, o.Gone, e.Gone)
		return
	}
	if e.Status != 0 && o.Status != e.Status {
		p.fail("%s: status %d, want %d", at, o.Status, e.Status)
	}
	if e.Body != nil && o.Body != *e.Body {
		p.fail("%s: body %q, want %q", at, o.Body, *e.Body)
	}
	if e.Cluster != "" && o.Cluster != strings.TrimPrefix(e.Cluster, "none") {
		p.fail("%s: upstream %q, want %q", at, o.Cluster, e.Cluster)
	}
	for _, w := range p.caught.headers("upstream", e.Upstream, o.Upstream) {
		p.fail("%s: %s", at, w)
	}
	for _, w := range p.caught.headers("response", e.Response, o.Headers) {
		p.fail("%s: %s", at, w)
	}
	if e.Waited != nil {
		p.waited(at, time.Duration(*e.Waited), time.Duration(e.WaitedMost), o.Waited)
	}
	p.logged(at, e, o)
}

// waited allows for a wall clock where there is one.
func (p *player) waited(at string, least, most, got time.Duration) {
	most = max(least, most)
	if !p.ex.Sees(SeesTime) {
		least, most = least-Early, most+Slack
	}
	if got < least || got > most {
		p.fail("%s: waited %v, want %v to %v", at, got, least, most)
	}
}

// logged compares what the access log tells.
func (p *player) logged(at string, e *Expect, o *Outcome) {
	if e.Details != "" && p.ex.Sees(SeesDetails) && o.Details != e.Details {
		p.fail("%s: details %q, want %q", at, o.Details, e.Details)
	}
	if e.Route != "" && p.ex.Sees(SeesRoute) && o.Route != e.Route {
		p.fail("%s: route %q, want %q", at, o.Route, e.Route)
	}
	if e.Flags != nil && p.ex.Sees(SeesFlags) && !slices.Equal(o.Flags, e.Flags) {
		p.fail("%s: flags %q, want %q", at, o.Flags, e.Flags)
	}
	if !p.ex.Sees(SeesAnnotations) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(e.Annotations)) {
		want := e.Annotations[k]
		got, ok := o.Annotations[k]
		switch {
		case want == nil && ok:
			p.fail("%s: annotation %s is %q, want none", at, k, got)
		case want != nil && (!ok || !p.caught.match(*want, got)):
			p.fail("%s: annotation %s is %q, want %q", at, k, got, *want)
		}
	}
}

func (p *player) counters(c *Case) {
	// Those that must not have moved come last: what is counted late has then been counted.
	order := slices.SortedFunc(maps.Keys(c.Counters), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Counters[b], c.Counters[a]), cmp.Compare(a, b))
	})
	for _, series := range order {
		want := c.Counters[series]
		got, err := p.session.Counter(series, func(v int64) bool { return v == want })
		if err != nil {
			p.fail("counter %s: %v", series, err)
		} else if got != want {
			p.fail("counter %s is %d, want %d", series, got, want)
		}
	}
}

// features are what shares are counted of.
func (o *Outcome) features() []string {
	f := append([]string{strconv.Itoa(o.Status)}, o.Flags...)
	if o.Cluster != "" {
		f = append(f, o.Cluster)
	}
	return f
}
