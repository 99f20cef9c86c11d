package main

import (
	"encoding/json"
	"fmt"
	"slices"
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

// newProbe reads {"tag": "..."}; the tag "panic" panics.
func newProbe(raw []byte, _ *filter.Env) (filter.Policy, error) {
	var c struct {
		Tag string `json:"tag"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if c.Tag == "panic" {
		panic("asked to panic in the configuration")
	}
	return &probe{c.Tag}, nil
}

type probe struct{ tag string }

// Request obeys the actions in x-probe, separated by commas, that concern the request.
func (p *probe) Request(x *filter.Exchange) filter.Verdict {
	actions := strings.Split(x.Request.Value("x-probe"), ",")
	if !x.Resumed() {
		x.Host.Count(begun, 1, p.tag)
		x.Host.Count(open, 1)
		x.SetState(actions)
	}
	x.Request.Set("x-probe-tag", p.tag)
	var v filter.Verdict
	for _, a := range actions {
		switch verb, arg, _ := strings.Cut(a, "="); verb {
		case "panic":
			panic("asked to panic")
		case "panic-resumed":
			if x.Resumed() {
				panic("asked to panic")
			}
		case "wait":
			if !x.Resumed() {
				v.Wait, _ = time.ParseDuration(arg)
			}
		case "call":
			if x.Resumed() {
				x.Request.Set("x-called", x.Answer.Err)
			} else {
				v.Call = &filter.Call{Cluster: arg}
			}
		case "reply":
			v.Reply = reply(arg)
		case "reroute":
			x.Request.Set("x-route", arg)
			v.Reroute = true
		case "edit":
			x.Request.Remove("x-remove")
			x.Request.Add("x-add", "added")
			x.Request.Set("x-empty", "")
		case "tell":
			x.Request.Set("x-tell", x.Host.RouteName()+" "+x.Host.SourceAddress())
			x.Host.Annotate("told", "yes")
			x.Host.Flag("PRA")
			x.Host.Flag("PRB")
		}
		if v.Wait > 0 || v.Call != nil {
			return v
		}
	}
	return v
}

// Response obeys those that concern the response.
func (p *probe) Response(x *filter.Exchange) filter.Verdict {
	actions, _ := x.State().([]string)
	for _, a := range actions {
		switch verb, arg, _ := strings.Cut(a, "="); verb {
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
			return filter.Verdict{Reply: reply(arg)}
		}
	}
	return filter.Verdict{}
}

// End counts.
func (p *probe) End(x *filter.Exchange) {
	x.Host.Count(ended, 1, p.tag)
	x.Host.Count(open, -1)
	x.Host.Annotate("over", fmt.Sprint(x.Response != nil))
	if actions, _ := x.State().([]string); slices.Contains(actions, "panic-end") {
		panic("asked to panic")
	}
}

// reply reads "503" or "503:14", a status and a grpc-status.
func reply(arg string) *filter.Reply {
	http, grpc, ok := strings.Cut(arg, ":")
	status, _ := strconv.Atoi(http)
	r := &filter.Reply{Status: status, Body: "probe\n", Details: "mizzen_probe", Flag: "PR",
		Headers: []filter.Header{{Name: "x-reply", Value: "probe"}}}
	if ok {
		n, _ := strconv.Atoi(grpc)
		r.GRPCStatus = &n
	}
	return r
}
