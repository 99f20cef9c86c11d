package wasm_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// TestConformance runs the corpus through the real module.
func TestConformance(t *testing.T) {
	cases, err := conformance.Load()
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, wazeroExecutor{}, cases)
}

// wazeroExecutor is the module with all policies under wazero, on a clock moved by hand.
type wazeroExecutor struct{}

func (wazeroExecutor) Name() string                    { return "wazero" }
func (wazeroExecutor) Parallel() (cases, requests int) { return 1, 1 }

func (wazeroExecutor) Refuses(c *conformance.Case) string {
	if c.Title == "the route that the canary chose is the key" {
		return "Envoy goes on showing a wasm filter the name of the route before the choice"
	}
	seeded := func(s conformance.Step) bool { return s.Seed != 0 }
	if slices.Contains(c.Needs, conformance.NeedSeed) || slices.ContainsFunc(c.Steps, seeded) {
		return "a VM draws from its own randomness, not from a seed for each request"
	}
	return ""
}

// Sees: waits are up to a tick of the host longer.
func (wazeroExecutor) Sees(a conformance.Aspect) bool { return a != conformance.SeesTime }

func (wazeroExecutor) Open(c *conformance.Case) (conformance.Session, error) {
	vm, err := modules["mizzen"].Start(wasmtest.Options{Config: string(c.Config), Seed: uint64(len(c.Title))})
	if err != nil {
		return nil, err
	}
	return &wazeroSession{c: c, vm: vm, start: vm.Now()}, nil
}

type wazeroSession struct {
	c     *conformance.Case
	vm    *wasmtest.VM
	start time.Time
}

func (s *wazeroSession) Close() { s.vm.Close() }

// route picks a route as the table of conformance.Route says.
func (s *wazeroSession) route(h wasmtest.Headers) (name, cluster string, config []byte) {
	for _, r := range s.c.Routes {
		if strings.HasPrefix(h.Get(":path"), r.Prefix) && (r.Token == "" || r.Token == h.Get("x-mizzen-route")) {
			return r.Name, r.Cluster, r.Config
		}
	}
	if h.Has("x-mizzen-cluster") {
		return "by-cluster", h.Get("x-mizzen-cluster"), nil
	}
	return "default", "default", nil
}

// metadata is what wasm/README.md has a user write for these routes.
func (s *wazeroSession) metadata(h wasmtest.Headers) map[string]string {
	name, _, config := s.route(h)
	out := map[string]string{"xds.route_name": name}
	if config != nil {
		out[metadataPath+"config"] = string(config)
	}
	for _, r := range s.c.Routes {
		if key := metadataPath + "config." + r.Token; r.Token != "" && r.Config != nil && out[key] == "" && strings.HasPrefix(h.Get(":path"), r.Prefix) {
			out[key] = string(r.Config)
		}
	}
	return out
}

func (s *wazeroSession) Do(r *conformance.Request) (*conformance.Outcome, error) {
	if at := s.start.Add(r.At); at.After(s.vm.Now()) {
		s.vm.Advance(at.Sub(s.vm.Now()))
	}
	h := wasmtest.H(":method: "+r.Method, ":path: "+r.Path)
	for _, line := range r.Headers {
		if host, ok := strings.CutPrefix(line, "host:"); ok {
			line = ":authority:" + host
		}
		h = append(h, wasmtest.H(line)...)
	}
	source := r.Source
	if source == "" {
		source = "127.0.0.1"
	}
	o := &conformance.Outcome{}
	stream := s.vm.Request(h, s.metadata(h), map[string]string{"source.address": source + ":1234"})
	defer stream.End()
	if o.Gone = s.hold(stream, r, o); o.Gone {
		return o, s.vm.Err()
	}
	if stream.Reply() == nil {
		_, o.Cluster, _ = s.route(stream.Upstream())
		o.Upstream = asMap(stream.Upstream(), "x-mizzen-route", "x-mizzen-cluster")
		if r.While == conformance.WhileUpstream {
			r.During()
		}
		stream.Response(wasmtest.H(append([]string{fmt.Sprintf(":status: %d", max(r.Answer.Status, 200))}, r.Answer.Headers...)...))
		if o.Gone = s.hold(stream, r, o); o.Gone {
			return o, s.vm.Err()
		}
	}
	o.Route, _, _ = s.route(stream.Upstream())
	s.see(stream, o)
	return o, s.vm.Err()
}

// hold waits with the stream; true: the client leaves first.
func (s *wazeroSession) hold(stream *wasmtest.Stream, r *conformance.Request, o *conformance.Outcome) bool {
	if stream.Paused() && r.While == conformance.WhileDelayed {
		r.During()
	}
	from := s.vm.Now()
	for stream.Paused() && s.vm.Err() == nil && o.Waited < time.Hour {
		if r.Leaves > 0 && o.Waited >= r.Leaves {
			return true
		}
		s.vm.Advance(5 * time.Millisecond)
		o.Waited += s.vm.Now().Sub(from)
		from = s.vm.Now()
	}
	return false
}

func (s *wazeroSession) see(stream *wasmtest.Stream, o *conformance.Outcome) {
	_, _ = fmt.Sscan(stream.Downstream().Get(":status"), &o.Status)
	o.Headers = asMap(stream.Downstream(), ":status")
	if r := stream.Reply(); r != nil {
		o.Body, o.Details = r.Body, r.Details
		rest, isGRPC := strings.CutPrefix(stream.Upstream().Get("content-type"), "application/grpc")
		if isGRPC && (rest == "" || rest[0] == '+' || rest[0] == ';') { // what Envoy makes of it for a gRPC request
			o.Status, o.Body = 200, ""
			o.Headers["grpc-status"], o.Headers["grpc-message"] = []string{fmt.Sprint(grpcStatus(r))}, []string{r.Body}
		}
	}
	if flags := stream.Property("mizzen.flags"); flags != "" {
		o.Flags = strings.Split(flags, ",")
	}
	o.Annotations = map[string]string{}
	for _, key := range []string{"canary", "fault", "ratelimit", "ratelimit_shadow", "trace_id", "panic"} {
		if v := stream.Property("mizzen." + key); v != "" {
			o.Annotations[key] = v
		}
	}
}

func (s *wazeroSession) Counter(series string, _ func(int64) bool) (int64, error) {
	name, rest, _ := strings.Cut(series, "{")
	values := strings.Split(strings.TrimSuffix(rest, "}"), ",")
	metrics := []*filter.Metric{filter.MetricPanics}
	for _, k := range registry.Kinds() {
		metrics = append(metrics, k.Metrics...)
	}
	for _, m := range metrics {
		if m.Name != name {
			continue
		}
		full := "mizzen_" + name
		for i, label := range m.Labels {
			full += ";" + label + "=" + values[i]
		}
		return s.vm.Metric(full), nil
	}
	return 0, fmt.Errorf("read %s: no such metric", series)
}

// grpcStatus is Envoy's map from HTTP (Grpc::Utility::httpToGrpcStatus) where the module gives none.
func grpcStatus(r *wasmtest.Reply) int {
	mapped, ok := map[int]int{400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}[r.Status]
	switch {
	case r.GRPCStatus >= 0:
		return r.GRPCStatus
	case ok:
		return mapped
	}
	return 2
}

func asMap(h wasmtest.Headers, without ...string) map[string][]string {
	out := map[string][]string{}
	for _, e := range h {
		if !slices.Contains(without, e[0]) {
			out[e[0]] = append(out[e[0]], e[1])
		}
	}
	return out
}
