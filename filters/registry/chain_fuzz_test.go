package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

// FuzzChain drives the whole chain as a host would, through filter.Run: any configuration for listener and route, any
// request headers, and exchanges side by side that are begun, resumed, answered, left by their clients and told of late
// timers in any order (ops). The seeds are the conformance corpus.
func FuzzChain(f *testing.F) {
	cases, err := conformance.Load()
	if err != nil {
		f.Fatal(err)
	}
	orders := []string{"\x00\x02\x03", "\x00\x01\x02\x03", "\x00\x00\x01\x01\x04\x01\x02\x03\x02\x03", "\x00\x01\x03\x01", "\x00\x02\x01\x03\x05\x00\x06\x02"}
	for i, c := range cases {
		route := []byte(nil)
		if len(c.Routes) > 0 {
			route = c.Routes[0].Config
		}
		for _, s := range c.Steps {
			f.Add([]byte(c.Config), route, strings.Join(s.Headers, "\n"), []byte(orders[i%len(orders)]))
		}
	}
	f.Fuzz(func(t *testing.T, base, route []byte, headers string, ops []byte) {
		env := filtertest.Env()
		env.Sends = true
		d := &driver{t: t, clock: filtertest.NewClock(), headers: lines(headers), gauges: map[string]int64{}}
		if d.base, err = registry.Parse(base, env); err != nil {
			return
		}
		if d.route, err = registry.Parse(route, env); err != nil {
			d.route = nil
		}
		d.play(ops)
	})
}

// lines reads "name: value" lines as Envoy would let them through.
func lines(text string) (out []filter.Header) {
	for _, l := range strings.Split(text, "\n") {
		i := strings.IndexByte(l[min(1, len(l)):], ':')
		if i < 0 || len(out) > 30 {
			continue
		}
		name := strings.ToLower(l[:i+1])
		if name == "host" {
			name = ":authority"
		}
		out = append(out, filter.Header{Name: name, Value: strings.Map(func(c rune) rune {
			if c < ' ' && c != '\t' || c == 0x7f {
				return -1
			}
			return c
		}, strings.TrimSpace(l[i+2:]))})
	}
	for _, h := range []filter.Header{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: "/"}} {
		if !slices.ContainsFunc(out, func(o filter.Header) bool { return o.Name == h.Name }) {
			out = append(out, h)
		}
	}
	return out
}

// driver is a host that trusts no policy.
type driver struct {
	t           *testing.T
	clock       *filtertest.Clock
	base, route *filter.Program
	headers     []filter.Header
	gauges      map[string]int64
	open        []*exchange
}

// exchange is one in progress.
type exchange struct {
	d        *driver
	run      filter.Run
	request  *filter.Headers
	original []filter.Header
	response bool
	waiting  *filter.Verdict
}

const mostOps = 64

func (d *driver) play(ops []byte) {
	for i, op := range ops[:min(len(ops), mostOps)] {
		switch op % 7 {
		case 0:
			d.begin(uint64(i) + uint64(op))
		case 4:
			d.clock.Advance(time.Duration(op) * 37 * time.Millisecond)
		case 5:
			d.send(d.base)
		default:
			if len(d.open) > 0 {
				d.open[int(op/7)%len(d.open)].step(op % 7)
			}
		}
	}
	for _, e := range d.open {
		e.end()
	}
	for name, n := range d.gauges {
		kept := strings.HasPrefix(name, "ratelimit_keys") && n > 0 // what is remembered outlives exchanges
		if n != 0 && !kept {
			d.t.Errorf("gauge %s is %d after the last exchange", name, n)
		}
	}
}

func (d *driver) begin(seed uint64) {
	e := &exchange{d: d, original: slices.Clone(d.headers), request: filter.NewHeaders(slices.Clone(d.headers))}
	x := &e.run.Exchange
	x.Request, x.Host, x.Rand, x.Now = e.request, e, filtertest.Rand(seed), d.clock.Now()
	d.open = append(d.open, e)
	e.forward()
}

func (e *exchange) step(op byte) {
	x := &e.run.Exchange
	x.Now = e.d.clock.Now()
	switch op {
	case 1: // a timer or an answer, which may be late
		var a *filter.Answer
		if v := e.waiting; v != nil && v.Call != nil {
			a = &filter.Answer{Err: "reset"}
			if len(v.Call.Body)%2 == 0 {
				a = &filter.Answer{Headers: []filter.Header{{Name: ":status", Value: "200"}, {Name: "grpc-status", Value: "0"}}, Body: v.Call.Body}
			}
		}
		e.waiting = nil
		e.run.Resume(a)
		if e.response {
			e.back()
		} else {
			e.forward()
		}
	case 2, 6: // a response, of the upstream or of Envoy itself
		if e.response {
			return
		}
		e.response, e.waiting = true, nil
		status := map[byte]string{2: "200", 6: "504"}[op]
		x.Response = filter.NewHeaders([]filter.Header{{Name: ":status", Value: status}, {Name: "x-a", Value: "b"}})
		e.back()
	case 3:
		e.end()
	}
}

// forward runs the request side.
func (e *exchange) forward() {
	for range 4 * filter.MaxPolicies {
		v := e.run.Request(e.d.base, e.d.route)
		e.edited()
		switch {
		case v.Reply != nil:
			e.reply(v.Reply)
			return
		case v.Wait > 0 || v.Call != nil:
			e.suspend(v)
			return
		case !v.Reroute:
			return
		}
	}
	e.d.t.Error("the chain asks for new routes for ever")
}

// back runs the response side.
func (e *exchange) back() {
	for range 4 * filter.MaxPolicies {
		v := e.run.Response(e.d.base)
		for _, edit := range e.run.Exchange.Response.TakeEdits() {
			e.header(edit.Name, edit.Value)
		}
		switch {
		case v.Reply != nil:
			e.reply(v.Reply)
			return
		case v.Wait > 0:
			e.suspend(v)
			return
		default:
			return
		}
	}
}

func (e *exchange) suspend(v filter.Verdict) {
	e.waiting = &v
	if v.Call != nil && v.Call.Cluster == "" {
		e.d.t.Error("a call to no cluster")
	}
}

func (e *exchange) reply(r *filter.Reply) {
	if r.Reset {
		e.end()
		return
	}
	if r.Status < 200 || r.Status > 599 || r.GRPCCode() < 0 || strings.ContainsAny(r.Details, " \n\t") {
		e.d.t.Errorf("reply %+v", r)
	}
	for _, h := range r.Headers {
		e.header(h.Name, h.Value)
	}
	e.response, e.waiting = true, nil
	e.run.Exchange.Response = filter.NewHeaders(append([]filter.Header{{Name: ":status", Value: fmt.Sprint(r.Status)}}, r.Headers...))
	e.back()
}

// edited replays the edits on the headers as they came, and compares with what the policies see.
func (e *exchange) edited() {
	for _, edit := range e.request.TakeEdits() {
		e.header(edit.Name, edit.Value)
		if edit.Op != filter.EditAdd {
			e.original = slices.DeleteFunc(e.original, func(h filter.Header) bool { return h.Name == edit.Name })
		}
		if edit.Op != filter.EditRemove {
			e.original = append(e.original, filter.Header{Name: edit.Name, Value: edit.Value})
		}
	}
	if !slices.Equal(e.original, e.request.All()) {
		e.d.t.Errorf("the host has %q, the policies see %q", e.original, e.request.All())
	}
}

// header asserts what Envoy asserts of a header that is written.
func (e *exchange) header(name, value string) {
	if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, " \r\n\x00") || strings.ContainsAny(value, "\r\n\x00") {
		e.d.t.Errorf("a policy writes header %q: %q", name, value)
	}
}

func (e *exchange) end() {
	e.run.Exchange.Now = e.d.clock.Now()
	e.run.End(e.d.base)
	e.response, e.waiting = true, nil
	if e.run.Exchange.Response == nil {
		e.run.Exchange.Response = filter.NewHeaders(nil)
	}
}

// send empties the outboxes, as a host does between exchanges.
func (d *driver) send(p *filter.Program) {
	for _, o := range p.Outboxes() {
		for i := range 8 {
			c := o.Next(d.clock.Now(), d)
			if c == nil {
				break
			}
			a := &filter.Answer{Headers: []filter.Header{{Name: ":status", Value: "202"}}}
			if i%2 == 1 {
				a = &filter.Answer{Err: "timeout"}
			}
			o.Answered(c, a, d.clock.Now(), d)
		}
	}
}

// Count implements filter.Meter and filter.Host: a metric must be declared, with its labels, and counters only grow.
func (d *driver) Count(m *filter.Metric, n int64, labels ...string) {
	declared := m == filter.MetricPanics
	for _, k := range registry.Kinds() {
		declared = declared || slices.Contains(k.Metrics, m)
	}
	switch {
	case m == filter.MetricPanics:
		d.t.Errorf("a panic in %s", labels)
	case !declared || len(labels) != len(m.Labels):
		d.t.Errorf("metric %s with labels %q: declared %v", m.Name, labels, declared)
	case m.Gauge:
		d.gauges[fmt.Sprint(m.Name, labels)] += n
	case n < 0:
		d.t.Errorf("counter %s falls", m.Name)
	}
}

// The rest of filter.Host, and filter.Attributes.

func (e *exchange) RouteName() string     { return "route" }
func (e *exchange) SourceAddress() string { return "10.1.2.3" }
func (e *exchange) Count(m *filter.Metric, n int64, labels ...string) {
	e.d.Count(m, n, labels...)
}
func (e *exchange) Annotate(key, value string) {
	if key == "" {
		e.d.t.Errorf("an annotation without a key: %q", value)
	}
	if key == "panic" {
		e.d.t.Error(value)
	}
}
func (e *exchange) Flag(code string) {
	if code == "" || strings.ContainsAny(code, ", ") {
		e.d.t.Errorf("flag %q", code)
	}
}
func (e *exchange) Attribute(a filter.Attribute) string {
	return map[filter.Attribute]string{filter.UpstreamAddress: "10.0.0.9:80", filter.UpstreamCluster: "c", filter.ResponseCode: "200"}[a]
}
