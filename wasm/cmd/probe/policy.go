package main

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

var (
	begun = &filter.Metric{Name: "probe_begun_total", Labels: []string{"tag"}}
	open  = &filter.Metric{Name: "probe_open", Gauge: true}
	// bad has more labels than any host takes.
	bad = &filter.Metric{Name: "probe_bad_total", Labels: []string{"a", "b", "c", "d", "e"}}
)

func kind() filter.Kind {
	return filter.Kind{Name: "probe", New: newProbe, Metrics: []*filter.Metric{begun, open, bad}}
}

func newProbe(raw []byte, _ *filter.Env) (filter.Policy, error) {
	var c struct {
		Tag   string
		Panic bool
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Panic {
		panic("asked to panic in the configuration")
	}
	return &probe{c.Tag}, nil
}

type probe struct{ tag string }

// Request obeys the words in x-probe that concern the request.
func (p *probe) Request(x *filter.Exchange) filter.Verdict {
	if !x.Resumed() {
		x.Host.Count(begun, 1, p.tag)
		x.Host.Count(open, 1)
	}
	x.Request.Set("x-probe-tag", p.tag)
	for _, word := range strings.Fields(x.Request.Value("x-probe")) {
		verb, arg, _ := strings.Cut(word, "=")
		switch verb {
		case "panic":
			panic("asked to panic")
		case "tell":
			x.Request.Set("x-tell", x.Host.RouteName()+" "+x.Host.SourceAddress())
			x.Host.Count(bad, 1)
		case "wait":
			if !x.Resumed() {
				d, _ := time.ParseDuration(arg)
				return filter.Verdict{Wait: d}
			}
		case "call":
			if x.Answer == nil {
				return filter.Verdict{Call: &filter.Call{Cluster: arg, Timeout: time.Second, Body: []byte("who?"),
					Headers: []filter.Header{{Name: ":method", Value: "POST"}, {Name: ":path", Value: "/"}, {Name: "host", Value: arg}}}}
			}
			x.Request.Set("x-called", x.Answer.Err+strings.TrimSpace(string(x.Answer.Body)))
		case "reroute":
			x.Request.Set("x-mizzen-route", arg)
			return filter.Verdict{Reroute: true}
		case "reply":
			n, _ := strconv.Atoi(arg)
			return filter.Verdict{Reply: &filter.Reply{Status: n, Body: "probe\n", Headers: []filter.Header{{Name: "x-reply", Value: "probe"}}}}
		}
	}
	return filter.Verdict{}
}

// Response obeys the words that concern the response.
func (p *probe) Response(x *filter.Exchange) filter.Verdict {
	x.Response.Set("x-probe-response", x.Response.Value(":status"))
	for _, word := range strings.Fields(x.Request.Value("x-probe")) {
		verb, arg, _ := strings.Cut(word, "=")
		switch verb {
		case "panic-response":
			panic("asked to panic")
		case "wait-response":
			if !x.Resumed() {
				d, _ := time.ParseDuration(arg)
				return filter.Verdict{Wait: d}
			}
		case "lose":
			n, _ := strconv.Atoi(arg)
			return filter.Verdict{Reply: &filter.Reply{Status: n}}
		}
	}
	return filter.Verdict{}
}

// End counts the exchange out.
func (p *probe) End(x *filter.Exchange) {
	x.Host.Count(open, -1)
	if strings.Contains(x.Request.Value("x-probe"), "panic-end") {
		panic("asked to panic")
	}
}
