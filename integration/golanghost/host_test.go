package golanghost

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// request is a plain request with more headers.
func request(more ...string) []string {
	return append([]string{":method=GET", ":path=/", ":authority=shop", ":scheme=http"}, more...)
}

func (s *script) exchange(config string, more ...string) {
	s.do(append([]string{"exchange", config}, request(more...)...)...)
}

// end asks for metrics, and for the streams that are still in memory after a garbage collection.
func (s *script) end() {
	s.do("metrics")
	s.do("settle")
}

// nothingLeft asserts that every stream has been freed.
func (r *run) nothingLeft() {
	r.t.Helper()
	if got := r.lines["live"]; len(got) != 1 || got[0] != "0" {
		r.t.Errorf("streams left in memory: %v, want 0", got)
	}
}

func (r *run) want(what string, got, want any) {
	r.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: got %q, want %q\n%s", what, fmt.Sprint(got), fmt.Sprint(want), r.text[max(0, len(r.text)-1500):])
	}
}

// words joins values with blanks.
func words(values ...any) string { return strings.TrimSuffix(fmt.Sprintln(values...), "\n") }

const canary = `{"canary":{"responseHeader":"x-canary","rules":[
	{"name":"testers","match":[{"headers":[{"name":"x-group","exact":"testers"}]}],"destinations":[{"name":"v2","cluster":"v2"}]},
	{"name":"sticky","match":[{"headers":[{"name":"x-user","present":true}]}],"sticky":{"key":{"header":"x-user"}},
	 "destinations":[{"name":"v1","cluster":"v1","weight":90},{"name":"v2","cluster":"v2","weight":10}]},
	{"name":"everyone","destinations":[{"name":"v1","cluster":"v1","weight":90},{"name":"v2","cluster":"v2","weight":10}]}]}}`

func TestCanary(t *testing.T) {
	const n, users = 2000, 500
	s := newScript(t)
	s.config("c", "listener", canary)
	s.exchange("c", "x-group=testers", "x-mizzen-cluster=v1")
	for range n {
		s.exchange("c")
	}
	for range 2 {
		for i := range users {
			s.exchange("c", fmt.Sprintf("x-user=user-%d", i))
		}
	}
	s.end()
	r := s.run(plain, library(t))
	first := r.order[0]
	r.want("the tester's cluster", first.upstream["x-mizzen-cluster"], "v2")
	r.want("the tester's answer", first.answer["x-canary"], "testers/v2")
	r.want("the tester's metadata", first.metadata["mizzen:canary"], "testers/v2")
	r.want("route cache cleared", first.facts["cleared"], 1)
	v2 := func(streams []*exchange) (hits int) {
		for _, e := range streams {
			if e.upstream["x-mizzen-cluster"] == "v2" {
				hits++
			}
		}
		return hits
	}
	within(t, "v2", v2(r.order[1:1+n]), n, 0.1)
	a, b := r.order[1+n:1+n+users], r.order[1+n+users:]
	within(t, "v2 of users", v2(a), users, 0.1)
	for i := range a {
		if a[i].upstream["x-mizzen-cluster"] != b[i].upstream["x-mizzen-cluster"] {
			t.Errorf("user %d changed sides", i)
		}
	}
	r.want("counter", r.metrics["mizzen.canary_decisions_total.rule.testers.destination.v2.sticky.off"], 1)
	r.want("forged", r.metrics["mizzen.canary_forged_total"], 1)
	r.nothingLeft()
}

// within asserts that hits of n are p*n within four standard deviations.
func within(t *testing.T, what string, hits, n int, p float64) {
	t.Helper()
	mean, sigma := p*float64(n), math.Sqrt(p*(1-p)*float64(n))
	if math.Abs(float64(hits)-mean) > 4*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f (4 sigma)", what, hits, n, mean, 4*sigma)
	}
}

const faults = `{"fault":{"rules":[
	{"name":"slow","match":[{"headers":[{"name":"x-demo","exact":"slow"}]}],"delay":{"percentage":100,"fixed":"120ms"}},
	{"name":"dead","match":[{"headers":[{"name":"x-demo","exact":"dead"}]}],"abort":{"percentage":100,"httpStatus":503}},
	{"name":"both","match":[{"headers":[{"name":"x-demo","exact":"both"}]}],"delay":{"percentage":100,"fixed":"120ms"},"abort":{"percentage":100,"httpStatus":418}},
	{"name":"grpc","match":[{"headers":[{"name":"x-demo","exact":"grpc"}]}],"abort":{"percentage":100,"grpcStatus":8}},
	{"name":"lost","match":[{"headers":[{"name":"x-demo","exact":"lost"}]}],"abort":{"percentage":100,"httpStatus":502,"afterResponse":true}}]}}`

func TestFault(t *testing.T) {
	for _, v := range []variant{plain, address} {
		t.Run(v.Name, func(t *testing.T) {
			s := newScript(t)
			s.config("c", "listener", faults)
			s.exchange("c")
			s.exchange("c", "x-demo=slow")
			s.exchange("c", "x-demo=dead")
			s.exchange("c", "x-demo=both")
			s.exchange("c", "x-demo=grpc", "content-type=application/grpc")
			s.exchange("c", "x-demo=dead", "content-type=application/grpc")
			s.exchange("c", "x-demo=lost")
			s.end()
			r := s.run(v, library(t))
			pass, slow, dead, both, grpc, mapped, lost := r.order[0], r.order[1], r.order[2], r.order[3], r.order[4], r.order[5], r.order[6]
			r.want("passed", pass.upstream != nil && pass.answer[":status"] == "200", true)
			r.want("delayed, then passed", slow.took() >= 120*time.Millisecond && slow.upstream != nil && slow.answer[":status"] == "200", true)
			r.want("abort", dead.answer[":status"]+" "+dead.details+" "+dead.metadata["mizzen:flags"], "503 mizzen_fault_abort FI")
			r.want("aborted request upstream", dead.upstream == nil, true)
			r.want("delay and abort", both.took() >= 120*time.Millisecond && both.answer[":status"] == "418" && both.upstream == nil, true)
			r.want("flags", both.metadata["mizzen:flags"], "DI,FI")
			r.want("gRPC abort", grpc.answer[":status"]+" "+grpc.answer["grpc-status"], "200 8")
			r.want("HTTP abort of a gRPC request", mapped.answer[":status"]+" "+mapped.answer["grpc-status"], "200 14")
			r.want("abort after the response", lost.upstream != nil && lost.answer[":status"] == "502" && lost.facts["direct"] == "1", true)
			r.want("delays", r.metrics["mizzen.fault_delays_total.rule.slow"]+r.metrics["mizzen.fault_delays_total.rule.both"], 2)
			r.want("active", r.metrics["mizzen.fault_active"], 0)
			r.nothingLeft()
		})
	}
}

func TestRateLimit(t *testing.T) {
	s := newScript(t)
	s.config("c", "listener", `{"ratelimit":{"limits":[{"name":"per-user","key":[{"header":"x-user"}],"requests":3,"per":"1h"}]}}`)
	for range 5 {
		s.exchange("c", "x-user=ann")
	}
	s.exchange("c", "x-user=bob")
	s.end()
	r := s.run(plain, library(t))
	var got []string
	for _, e := range r.order {
		got = append(got, e.answer[":status"])
	}
	r.want("answers", strings.Join(got, " "), "200 200 200 429 429 200")
	r.nothingLeft()
}

func TestTracing(t *testing.T) {
	s := newScript(t)
	s.config("c", "listener", `{"tracing":{"inject":["w3c","b3"],"annotate":true}}`)
	s.exchange("c")
	s.exchange("c", "uber-trace-id=463ac35c9f6413ad48485a3953bb6124:a2fb4a1d1a96d312:0:1")
	s.end()
	r := s.run(plain, library(t))
	r.want("new context", len(r.order[0].upstream["traceparent"]), 55)
	r.want("Jaeger's context", strings.HasPrefix(r.order[1].upstream["traceparent"], "00-463ac35c9f6413ad48485a3953bb6124-"), true)
	r.want("metadata", r.order[1].metadata["mizzen:trace_id"], "463ac35c9f6413ad48485a3953bb6124")
	r.nothingLeft()
}

// TestConfig: what is accepted, in which message, and what is not.
func TestConfig(t *testing.T) {
	wrap := func(name string, m any) string {
		switch m := m.(type) {
		case *wrapperspb.StringValue:
			return serialize(t, &anypb.Any{TypeUrl: "type.googleapis.com/" + name, Value: append([]byte{10, byte(len(m.Value))}, m.Value...)})
		case []byte:
			return serialize(t, &anypb.Any{TypeUrl: "type.googleapis.com/" + name, Value: m})
		}
		return ""
	}
	text := wrapperspb.String(`{"fault":{"rules":[]}}`)
	s := newScript(t)
	cases := []struct{ hex, want string }{
		{typedStruct(t, `{"fault":{"rules":[]}}`), "accepted"},
		{typedStruct(t, `{}`), "accepted"},
		{wrap("google.protobuf.StringValue", text), "accepted"},
		{wrap("google.protobuf.BytesValue", text), "accepted"},
		{wrap("google.protobuf.Struct", []byte{}), "accepted"},
		{wrap("google.protobuf.Duration", []byte{}), "rejected"},
		{wrap("xds.type.v3.TypedStruct", []byte{0xff}), "rejected"},
		{wrap("xds.type.v3.TypedStruct", []byte{0x12, 2, 0xff, 0xff}), "rejected"},
		{wrap("google.protobuf.StringValue", wrapperspb.String(`{`)), "rejected"},
		{typedStruct(t, `{"falt":{}}`), "rejected"},
		{typedStruct(t, `{"probe":{"tag":"panic"}}`), "rejected"},
	}
	for i, c := range cases {
		s.do("config", fmt.Sprint("v", i), "listener", c.hex)
		s.do("config", fmt.Sprint("r", i), "route", c.hex)
	}
	s.end()
	r := s.run(plain, probe(t))
	for i, c := range cases {
		r.want(fmt.Sprint("listener ", i), r.lines["config"][2*i], fmt.Sprint("v", i, " ", c.want))
		r.want(fmt.Sprint("route ", i), r.lines["config"][2*i+1], fmt.Sprint("r", i, " ", c.want))
	}
	for _, want := range []string{`unknown field "falt"`, "asked to panic in the configuration", "google.protobuf.Duration"} {
		if !strings.Contains(r.text, want) {
			t.Errorf("the log lacks %q:\n%s", want, r.text)
		}
	}
}

// TestMerge: a route fills or switches off what its virtual host and its listener say, slot by slot.
func TestMerge(t *testing.T) {
	abort := func(status int) string {
		return fmt.Sprintf(`"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":%d}}]}`, status)
	}
	s := newScript(t)
	s.config("listener", "listener", `{"tracing":{"inject":["w3c"],"annotate":true},`+abort(501)+`}`)
	s.config("host", "route", `{`+abort(502)+`}`)
	s.config("off", "route", `{"fault":null}`)
	s.config("route", "route", `{`+abort(503)+`}`)
	s.config("silent", "route", `{}`)
	s.do("merge", "m-host", "listener", "host")
	s.do("merge", "m-off", "m-host", "off")
	s.do("merge", "m-route", "m-off", "route")
	s.do("merge", "m-silent", "m-off", "silent")
	for _, c := range []string{"listener", "m-host", "m-off", "m-route", "m-silent", "route"} {
		s.exchange(c)
	}
	// A configuration goes while a stream still uses it; a dropped one is no harm to what was merged from it.
	s.do("drop", "host")
	s.exchange("m-route")
	s.end()
	r := s.run(plain, library(t))
	var got []string
	for _, e := range r.order {
		traced := "untraced"
		if e.metadata["mizzen:trace_id"] != "" {
			traced = "traced"
		}
		got = append(got, e.answer[":status"]+" "+traced)
	}
	r.want("answers", strings.Join(got, ", "), "501 traced, 502 traced, 200 traced, 503 traced, 200 traced, 503 untraced, 503 traced")
	r.want("counted, the route alone too", r.metrics["mizzen.fault_aborts_total.rule.none"]+r.metrics["mizzen.fault_aborts_total.rule.0"]+r.metrics["mizzen.fault_aborts_total.rule.rule-0"], 5)
}
