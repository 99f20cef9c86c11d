// Package probe is a policy for tests of hosts: it does what a request's x-probe header asks for, panics included, so
// that one request exercises one thing that a policy may ask of its host. It is never shipped.
package probe

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// Header holds a request's actions, separated by blanks or commas: see Request, Response and End of the policy.
const Header = "x-probe"

// Kind is the policy, by the name "probe". Its metrics: probe_begun_total and probe_ended_total{tag} count exchanges,
// probe_open is the number in progress, and probe_bad_total has more labels than a host adds up.
func Kind() filter.Kind {
	m := &metrics{
		begun: &filter.Metric{Name: "probe_begun_total", Help: "Requests seen.", Labels: []string{"tag"}},
		ended: &filter.Metric{Name: "probe_ended_total", Help: "Exchanges ended.", Labels: []string{"tag"}},
		open:  &filter.Metric{Name: "probe_open", Help: "Exchanges in progress.", Gauge: true},
		bad:   &filter.Metric{Name: "probe_bad_total", Help: "Never counted well.", Labels: []string{"a", "b", "c", "d", "e"}},
	}
	return filter.Kind{Name: "probe", Reason: "for tests", Metrics: []*filter.Metric{m.begun, m.ended, m.open, m.bad},
		New: func(raw []byte, _ *filter.Env) (filter.Policy, error) { return newProbe(raw, m) }}
}

type metrics struct{ begun, ended, open, bad *filter.Metric }

// config: Tag is told to the upstream in x-probe-tag. Panic, or the tag "panic", panics while it is read.
type config struct {
	Tag   string `json:"tag"`
	Panic bool   `json:"panic"`
}

func newProbe(raw []byte, m *metrics) (filter.Policy, error) {
	var c config
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if c.Panic || c.Tag == "panic" {
		panic("asked to panic in the configuration")
	}
	return &probe{c.Tag, m}, nil
}

type probe struct {
	tag     string
	metrics *metrics
}

// script is what is kept of a request's actions.
type script struct {
	actions []action
	at      int // of the action whose wait or call is in progress
}

type action struct{ verb, arg string }

func read(header string) *script {
	s := &script{}
	for _, word := range strings.FieldsFunc(header, func(c rune) bool { return c == ' ' || c == ',' }) {
		verb, arg, _ := strings.Cut(word, "=")
		s.actions = append(s.actions, action{verb, arg})
	}
	return s
}

// Request obeys, in order, and stops at a verdict:
//
//	panic, panic-resumed      panics, the second after wait or call
//	host-panic                has a method of the host panic
//	wait=20ms, call=cluster   waits; asks a cluster, and tells the answer's body or error in x-called, its status in x-called-status
//	reply=503, reply=503:14   answers, the second with a grpc-status too
//	reroute=v2                sets x-route and x-mizzen-route, and asks for a new route
//	remove=x, add=x, empty    edits x; sets x-empty to nothing; edit does all three to x-remove, x-add and x-empty
//	tell                      tells route and source address in x-tell, annotates told=yes, sets the flags PRA and PRB
//	miscount                  counts with the wrong number of labels, which a host must survive
func (p *probe) Request(x *filter.Exchange) filter.Verdict {
	if !x.Resumed() {
		x.SetState(read(x.Request.Value(Header)))
		x.Host.Count(p.metrics.begun, 1, p.tag)
		x.Host.Count(p.metrics.open, 1)
	}
	x.Request.Set("x-probe-tag", p.tag)
	s := x.State().(*script)
	for ended := x.Resumed(); s.at < len(s.actions); ended = false {
		if v, over := p.request(x, s.actions[s.at], ended); over {
			return v
		}
		s.at++
	}
	return filter.Verdict{}
}

// request obeys one action. ended: it is the one whose wait or call has ended.
func (p *probe) request(x *filter.Exchange, a action, ended bool) (v filter.Verdict, over bool) {
	switch a.verb {
	case "panic":
		panic("asked to panic")
	case "panic-resumed":
		if x.Resumed() {
			panic("asked to panic when resumed")
		}
	case "host-panic":
		x.Host.Count(nil, 1)
	case "wait":
		v.Wait, _ = time.ParseDuration(a.arg)
		return v, !ended
	case "call":
		if !ended {
			return filter.Verdict{Call: call(a.arg)}, true
		}
		x.Request.Set("x-called", x.Answer.Err+strings.TrimSpace(string(x.Answer.Body)))
		x.Request.Set("x-called-status", status(x.Answer.Headers))
	case "reply":
		return filter.Verdict{Reply: reply(a.arg)}, true
	case "reroute":
		x.Request.Set("x-route", a.arg)
		x.Request.Set("x-mizzen-route", a.arg)
		return filter.Verdict{Reroute: true}, true
	default:
		p.tell(x, a)
	}
	return v, false
}

// tell does what needs no verdict.
func (p *probe) tell(x *filter.Exchange, a action) {
	switch a.verb {
	case "remove":
		x.Request.Remove(a.arg)
	case "add":
		x.Request.Add(a.arg, "added")
	case "empty":
		x.Request.Set("x-empty", "")
	case "edit":
		x.Request.Remove("x-remove")
		x.Request.Add("x-add", "added")
		x.Request.Set("x-empty", "")
	case "tell":
		x.Request.Set("x-tell", x.Host.RouteName()+" "+x.Host.SourceAddress())
		x.Host.Annotate("told", "yes")
		x.Host.Flag("PRA")
		x.Host.Flag("PRB")
	case "miscount":
		x.Host.Count(p.metrics.bad, 1)
	}
}

// Response tells the status in x-probe-response, and obeys:
//
//	panic-response, panic-response-resumed, host-panic-response   as for the request
//	wait-response=20ms, lose=502                                  waits; answers in place of the upstream
func (p *probe) Response(x *filter.Exchange) filter.Verdict {
	for _, a := range x.State().(*script).actions {
		switch a.verb {
		case "panic-response":
			panic("asked to panic")
		case "panic-response-resumed":
			if x.Resumed() {
				panic("asked to panic when resumed")
			}
		case "host-panic-response":
			x.Host.Count(nil, 1)
		case "wait-response":
			if !x.Resumed() {
				d, _ := time.ParseDuration(a.arg)
				return filter.Verdict{Wait: d}
			}
		case "lose":
			return filter.Verdict{Reply: reply(a.arg)}
		}
	}
	x.Response.Set("x-probe-response", x.Response.Value(":status"))
	return filter.Verdict{}
}

// End counts, annotates over=true or, if there was no response, over=false, and obeys panic-end and host-panic-end.
func (p *probe) End(x *filter.Exchange) {
	x.Host.Count(p.metrics.ended, 1, p.tag)
	x.Host.Count(p.metrics.open, -1)
	x.Host.Annotate("over", strconv.FormatBool(x.Response != nil))
	for _, a := range x.State().(*script).actions {
		switch a.verb {
		case "panic-end":
			panic("asked to panic")
		case "host-panic-end":
			x.Host.Count(nil, 1)
		}
	}
}

func call(cluster string) *filter.Call {
	return &filter.Call{Cluster: cluster, Timeout: time.Second, Body: []byte("who?"),
		Headers: []filter.Header{{Name: ":method", Value: "POST"}, {Name: ":path", Value: "/"}, {Name: "host", Value: cluster}}}
}

// reply reads "503" or "503:14", a status and a grpc-status.
func reply(arg string) *filter.Reply {
	http, grpc, ok := strings.Cut(arg, ":")
	n, _ := strconv.Atoi(http)
	r := &filter.Reply{Status: n, Body: "probe\n", Details: "mizzen_probe", Flag: "PR",
		Headers: []filter.Header{{Name: "x-reply", Value: "probe"}}}
	if ok {
		code, _ := strconv.Atoi(grpc)
		r.GRPCStatus = &code
	}
	return r
}

func status(headers []filter.Header) string {
	for _, h := range headers {
		if h.Name == ":status" {
			return h.Value
		}
	}
	return ""
}
