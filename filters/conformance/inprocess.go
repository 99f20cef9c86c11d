package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// InProcess runs the policies in this process, without a proxy, on a clock moved by hand: the fastest executor, and the
// one that can run every case.
type InProcess struct{}

// Name implements Executor.
func (InProcess) Name() string { return "inprocess" }

// Refuses implements Executor: nothing is refused.
func (InProcess) Refuses(*Case) string { return "" }

// Sees implements Executor: everything is seen.
func (InProcess) Sees(Aspect) bool { return true }

// Parallel implements Executor.
func (InProcess) Parallel() (cases, requests int) { return 2, 1 }

// Open implements Executor.
func (InProcess) Open(c *Case) (Session, error) {
	env := filtertest.Env()
	base, err := registry.Parse(c.Config, env)
	if err != nil {
		return nil, err
	}
	s := &inProcess{c: c, clock: filtertest.NewClock(), base: base, counts: map[string]int64{}, rand: rand.Uint64()}
	s.start = s.clock.Now()
	for _, r := range c.Routes {
		p := (*filter.Program)(nil)
		if r.Config != nil {
			if p, err = registry.Parse(r.Config, env); err != nil {
				return nil, fmt.Errorf("route %s: %w", r.Name, err)
			}
		}
		s.programs = append(s.programs, p)
	}
	return s, nil
}

type inProcess struct {
	c        *Case
	clock    *filtertest.Clock
	start    time.Time
	base     *filter.Program
	programs []*filter.Program // of c.Routes
	counts   map[string]int64
	rand     uint64
}

// Do implements Session.
func (s *inProcess) Do(r *Request) (*Outcome, error) {
	if at := s.start.Add(r.At); at.After(s.clock.Now()) {
		s.clock.Set(at)
	}
	o := &Outcome{}
	run := &filtertest.Runner{Base: s.base, Clock: s.clock, Rand: s.random(r), Source: r.Source, Patience: r.Leaves}
	run.Route = func(h *filter.Headers) (string, *filter.Program) {
		name, _, p := s.route(h)
		return name, p
	}
	run.Upstream = func(h *filter.Headers) []filter.Header {
		_, o.Cluster, _ = s.route(h)
		o.Upstream = headers(h.All(), "x-mizzen-route", "x-mizzen-cluster")
		if r.While == WhileUpstream {
			r.During()
		}
		return answer(r.Answer)
	}
	run.Waiting = func(time.Duration) {
		if r.While == WhileDelayed {
			r.During()
		}
	}
	res := run.Do(lines(r)...)
	for series, n := range res.Host.Counts() {
		s.counts[series] += n
	}
	o.Waited, o.Route, o.Annotations, o.Flags = res.Waited, res.Host.Route, res.Host.Annotations, res.Host.Flags
	if o.Gone = res.Response == nil; o.Gone {
		return o, nil
	}
	if _, err := fmt.Sscan(res.Status(), &o.Status); err != nil {
		return nil, fmt.Errorf("read status %q: %w", res.Status(), err)
	}
	o.Headers = headers(res.Response.All(), ":status")
	if res.Reply != nil {
		o.Body, o.Details = res.Reply.Body, res.Reply.Details
		replyAsGRPC(o, res.Response)
	}
	return o, nil
}

// replyAsGRPC moves a body to where Envoy puts it for a gRPC request.
func replyAsGRPC(o *Outcome, h *filter.Headers) {
	if _, ok := h.Get("grpc-status"); ok {
		o.Headers["grpc-message"], o.Body = []string{o.Body}, ""
	}
}

// random is the same for the same seed, case or not.
func (s *inProcess) random(r *Request) filter.Rand {
	if r.Seed != 0 {
		return filtertest.Rand(r.Seed + uint64(r.Nth)<<32)
	}
	s.rand++
	return filtertest.Rand(s.rand)
}

// route selects as the table of Route says.
func (s *inProcess) route(h *filter.Headers) (name, cluster string, p *filter.Program) {
	i, name, cluster := s.c.Select(h.Get)
	if i >= 0 {
		p = s.programs[i]
	}
	return name, cluster, p
}

// Counter implements Session.
func (s *inProcess) Counter(series string, _ func(int64) bool) (int64, error) {
	return s.counts[series], nil
}

// Close implements Session.
func (s *inProcess) Close() {}

// lines are the request's headers as filtertest takes them.
func lines(r *Request) []string {
	out := []string{":method: " + r.Method, ":path: " + r.Path}
	for _, h := range r.Headers {
		if host, ok := strings.CutPrefix(h, "host:"); ok {
			h = ":authority:" + host
		}
		out = append(out, h)
	}
	return out
}

func answer(a Answer) []filter.Header {
	out := []filter.Header{{Name: ":status", Value: "200"}}
	if a.Status != 0 {
		out[0].Value = fmt.Sprint(a.Status)
	}
	for _, h := range a.Headers {
		name, value, _ := strings.Cut(h, ":")
		out = append(out, filter.Header{Name: name, Value: strings.TrimSpace(value)})
	}
	return out
}

func headers(all []filter.Header, without ...string) map[string][]string {
	out := map[string][]string{}
	for _, h := range all {
		out[h.Name] = append(out[h.Name], h.Value)
	}
	for _, name := range without {
		delete(out, name)
	}
	return out
}
