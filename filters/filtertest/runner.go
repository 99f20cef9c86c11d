package filtertest

import (
	"fmt"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Runner plays the host for a chain. Only Base is required.
type Runner struct {
	// Base is the listener's program.
	Base *filter.Program
	// Route selects a route by the request's headers: its name and its program (nil: none). It is asked at the start
	// and after every reroute. Nil: no routes.
	Route func(h *filter.Headers) (string, *filter.Program)
	// Upstream answers what the chain lets through. Nil: 200 without more.
	Upstream func(request *filter.Headers) []filter.Header
	// Answer plays the clusters that policies call. Nil: "no such cluster".
	Answer func(c *filter.Call) filter.Answer
	// Waiting is called when a wait begins, before the clock moves. Nil: nobody listens.
	Waiting func(d time.Duration)
	// Clock is moved on by every wait. Nil: a new one for each request.
	Clock *Clock
	// Rand is used by every request. Nil: Rand(1), made anew for each request.
	Rand filter.Rand
	// Source is the peer's address.
	Source string
	// Patience is how long the client waits before it goes away; 0: for ever.
	Patience time.Duration
	// Host collects counts over several requests. Nil: a new one for each request.
	Host *Host
}

// Result is what became of one request.
type Result struct {
	// Request holds the headers that reached the upstream; nil if the chain answered by itself.
	Request *filter.Headers
	// Response holds the headers that reached the client, ":status" included; nil if it went away, or was reset.
	Response *filter.Headers
	// Reply is the local reply, if there was one; for one made on the response side Request is set too.
	Reply *filter.Reply
	// Waited is the sum of all waits; nobody slept.
	Waited time.Duration
	// Reroutes counts route selections after the first.
	Reroutes int
	// Calls are the calls made to clusters.
	Calls []*filter.Call
	// Host is the runner's, or this request's own.
	Host *Host
}

// maxSteps bounds one request: a chain that asks for more is broken.
const maxSteps = 64

// Status is the response's ":status".
func (r Result) Status() string { return r.Response.Value(":status") }

// Do plays one request made of "name: value" lines, as NewExchange takes them.
func (r *Runner) Do(lines ...string) Result {
	p := &play{Runner: r, clock: r.Clock, res: Result{Host: r.Host}}
	if p.clock == nil {
		p.clock = NewClock()
	}
	if p.res.Host == nil {
		p.res.Host = &Host{}
	}
	p.res.Host.Source = r.Source
	x := &p.run.Exchange
	x.Request = filter.NewHeaders(request(lines))
	x.Host, x.Rand = p.res.Host, r.Rand
	if x.Rand == nil {
		x.Rand = Rand(1)
	}
	p.selectRoute()
	p.request()
	if !p.gone {
		p.response()
	}
	p.run.Exchange.Now = p.clock.Now()
	p.run.End(p.Base)
	return p.res
}

type play struct {
	*Runner
	clock *Clock
	run   filter.Run
	route *filter.Program
	steps int
	gone  bool
	res   Result
}

func (p *play) selectRoute() {
	if p.Route != nil {
		p.res.Host.Route, p.route = p.Route(p.run.Exchange.Request)
	}
}

func (p *play) request() {
	x := &p.run.Exchange
	for {
		p.step()
		v := p.run.Request(p.Base, p.route)
		switch {
		case v.Reply != nil:
			p.reply(v.Reply)
			return
		case v.Wait > 0 || v.Call != nil:
			if p.suspend(v); p.gone {
				return
			}
		case v.Reroute:
			x.Request.TakeEdits()
			p.res.Reroutes++
			p.selectRoute()
		default:
			p.res.Request = x.Request
			entries := []filter.Header{{Name: ":status", Value: "200"}}
			if p.Upstream != nil {
				entries = p.Upstream(x.Request)
			}
			x.Response = filter.NewHeaders(entries)
			return
		}
	}
}

func (p *play) response() {
	for {
		p.step()
		v := p.run.Response(p.Base)
		switch {
		case v.Reply != nil:
			if p.reply(v.Reply); p.gone {
				return
			}
		case v.Wait > 0 || v.Call != nil:
			if p.suspend(v); p.gone {
				return
			}
		default:
			p.res.Response = p.run.Exchange.Response
			return
		}
	}
}

func (p *play) step() {
	if p.steps++; p.steps > maxSteps {
		panic(fmt.Sprintf("filtertest: the chain has not finished after %d steps", maxSteps))
	}
	p.run.Exchange.Now = p.clock.Now()
}

func (p *play) suspend(v filter.Verdict) {
	if v.Call == nil {
		if p.Waiting != nil {
			p.Waiting(v.Wait)
		}
		if p.gone = p.Patience > 0 && p.res.Waited+v.Wait > p.Patience; p.gone {
			p.clock.Advance(p.Patience - p.res.Waited)
			p.res.Waited = p.Patience
			return
		}
		p.res.Waited += v.Wait
		p.clock.Advance(v.Wait)
		p.run.Resume(nil)
		return
	}
	p.res.Calls = append(p.res.Calls, v.Call)
	a := filter.Answer{Err: "no such cluster"}
	if p.Answer != nil {
		a = p.Answer(v.Call)
	}
	p.run.Resume(&a)
}

// reply makes the response of a local reply as Envoy does: a gRPC request gets 200 and a grpc-status.
func (p *play) reply(r *filter.Reply) {
	p.res.Reply = r
	if r.Flag != "" {
		p.res.Host.Flag(r.Flag)
	}
	if p.gone = r.Reset; p.gone {
		p.run.Exchange.Response, p.res.Response = nil, nil
		return
	}
	entries := []filter.Header{{Name: ":status", Value: fmt.Sprint(r.Status)}}
	if isGRPC(p.run.Exchange.Request.Value("content-type")) {
		entries[0].Value = "200"
		entries = append(entries, filter.Header{Name: "grpc-status", Value: fmt.Sprint(r.GRPCCode())})
	}
	p.run.Exchange.Response = filter.NewHeaders(append(entries, r.Headers...))
	p.res.Response = p.run.Exchange.Response
}

// isGRPC decides as Envoy does (Grpc::Common::hasGrpcContentType).
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// Single makes a program of one policy.
func Single(name string, p filter.Policy) *filter.Program {
	return &filter.Program{Names: []string{name}, Policies: []filter.Policy{p}, Disabled: []bool{false}}
}
