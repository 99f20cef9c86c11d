package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
)

var (
	begun = &filter.Metric{Name: "probe_begun_total", Help: "Requests seen.", Labels: []string{"tag"}}
	ended = &filter.Metric{Name: "probe_ended_total", Help: "Exchanges ended.", Labels: []string{"tag"}}
	open  = &filter.Metric{Name: "probe_open", Help: "Exchanges in progress.", Gauge: true}
)

func kind() filter.Kind {
	return filter.Kind{Name: "probe", Reason: "for tests", New: newProbe, Metrics: []*filter.Metric{begun, ended, open}}
}

// config: Tag is told in a request header; Panic panics while the configuration is parsed.
type config struct {
	Tag   string `json:"tag"`
	Panic bool   `json:"panic"`
}

func newProbe(raw []byte, _ *filter.Env) (filter.Policy, error) {
	var c config
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if c.Panic {
		panic("asked to panic in the configuration")
	}
	return &probe{c.Tag}, nil
}

type probe struct{ tag string }

// Request obeys the actions in x-probe, separated by blanks, that concern the request.
func (p *probe) Request(x *filter.Exchange) filter.Verdict {
	actions := strings.Fields(x.Request.Value("x-probe"))
	if !x.Resumed() {
		x.Host.Count(begun, 1, p.tag)
		x.Host.Count(open, 1)
		x.SetState(actions)
	}
	x.Request.Set("x-probe-tag", p.tag)
	for _, a := range actions {
		verb, arg, _ := strings.Cut(a, "=")
		switch verb {
		case "panic":
			panic("asked to panic")
		case "wait":
			if !x.Resumed() {
				d, _ := time.ParseDuration(arg)
				return filter.Verdict{Wait: d}
			}
		case "reply":
			n, _ := strconv.Atoi(arg)
			return filter.Verdict{Reply: reply(n)}
		case "grpc":
			n, _ := strconv.Atoi(arg)
			r := reply(503)
			r.GRPCStatus = &n
			return filter.Verdict{Reply: r}
		case "reroute":
			x.Request.Set("x-route", arg)
			return filter.Verdict{Reroute: true}
		case "call":
			if !x.Resumed() {
				return filter.Verdict{Call: &filter.Call{Cluster: arg, Timeout: time.Second,
					Headers: []filter.Header{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/called"}, {Name: "host", Value: "called"}}}}
			}
			x.Request.Set("x-called", fmt.Sprintf("%s %d %s", status(x.Answer.Headers), len(x.Answer.Body), x.Answer.Err))
		case "empty":
			x.Request.Set("x-empty", "")
		case "remove":
			x.Request.Remove(arg)
		case "add":
			x.Request.Add(arg, "added")
		case "tell":
			x.Request.Set("x-tell", x.Host.RouteName()+" "+x.Host.SourceAddress())
			x.Host.Annotate("told", "yes")
			x.Host.Flag("PRB")
		}
	}
	return filter.Verdict{}
}

// Response obeys those that concern the response.
func (p *probe) Response(x *filter.Exchange) filter.Verdict {
	actions, _ := x.State().([]string)
	for _, a := range actions {
		verb, arg, _ := strings.Cut(a, "=")
		switch verb {
		case "panic-response":
			panic("asked to panic")
		case "mark":
			x.Response.Set("x-probe-response", x.Response.Value(":status"))
		case "wait-response":
			if !x.Resumed() {
				d, _ := time.ParseDuration(arg)
				return filter.Verdict{Wait: d}
			}
		case "lose":
			n, _ := strconv.Atoi(arg)
			return filter.Verdict{Reply: reply(n)}
		}
	}
	return filter.Verdict{}
}

// End counts.
func (p *probe) End(x *filter.Exchange) {
	x.Host.Count(ended, 1, p.tag)
	x.Host.Count(open, -1)
	for _, a := range x.State().([]string) {
		if a == "panic-end" {
			panic("asked to panic")
		}
	}
}

func reply(status int) *filter.Reply {
	return &filter.Reply{Status: status, Body: "probe\n", Details: "mizzen_probe", Flag: "PR",
		Headers: []filter.Header{{Name: "x-reply", Value: "probe"}}}
}

func status(headers []filter.Header) string {
	for _, h := range headers {
		if h.Name == ":status" {
			return h.Value
		}
	}
	return ""
}
