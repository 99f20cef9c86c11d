package conformance

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/conformance"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// wazero runs the wasm module under wazero, without an Envoy, on a clock moved by hand: a VM for each case. It plays
// Envoy's routes by properties, and like Envoy it does not change them when the route is selected anew.
type wazero struct{ module *wasmtest.Module }

func newWazero(t testing.TB) *wazero {
	t.Helper()
	build := filepath.Join(envoytest.Root(), "build")
	file := filepath.Join(build, "mizzen.wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/mizzen", file); err != nil {
		t.Fatal(err)
	}
	m, err := wasmtest.Compiler{CacheDir: filepath.Join(build, "wazero")}.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return &wazero{m}
}

// Name implements conformance.Executor.
func (*wazero) Name() string { return "wazero" }

// Refuses implements conformance.Executor.
func (*wazero) Refuses(c *conformance.Case) string {
	if c.NeedsSeed() {
		return "needs randomness from a seed"
	}
	return wasmRefuses(c)
}

// wasmRefuses says what no proxy-wasm host can do.
func wasmRefuses(c *conformance.Case) string {
	if reason := c.Not["wasm"]; reason != "" {
		return reason
	}
	env := registry.NewEnv()
	env.Sends = true
	if _, err := registry.Parse(c.Config, env); err != nil {
		return err.Error() // what the host cannot do, the policy refuses
	}
	return ""
}

// Sees implements conformance.Executor: a wait ends at the next tick.
func (*wazero) Sees(a conformance.Aspect) bool {
	return a != conformance.SeesTime && a != conformance.SeesRoute
}

// Parallel implements conformance.Executor.
func (*wazero) Parallel() (cases, requests int) { return 2, 1 }

// Open implements conformance.Executor.
func (w *wazero) Open(c *conformance.Case) (conformance.Session, error) {
	vm, err := w.module.Start(wasmtest.Options{Config: string(c.Config), Seed: uint64(time.Now().UnixNano())})
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

// Close implements conformance.Session.
func (s *wazeroSession) Close() { s.vm.Close() }

// Do implements conformance.Session.
func (s *wazeroSession) Do(r *conformance.Request) (*conformance.Outcome, error) {
	if wait := s.start.Add(r.At).Sub(s.vm.Now()); wait > 0 {
		s.vm.Advance(wait)
	}
	h := wasmtest.H(":method: "+r.Method, ":path: "+r.Path)
	for _, l := range r.Headers {
		if host, ok := strings.CutPrefix(l, "host:"); ok {
			l = ":authority:" + host
		}
		h = append(h, wasmtest.H(l)...)
	}
	o := &conformance.Outcome{}
	begun := s.vm.Now()
	st := s.vm.Request(h, s.properties(r, h))
	defer st.End()
	if o.Gone = !s.settle(st, r, begun); o.Gone {
		st.End()
		return o, s.vm.Err()
	}
	if st.Reply() == nil {
		_, _, o.Cluster = s.c.Select(getter(st.Upstream()))
		o.Upstream = multimap(st.Upstream(), "x-mizzen-route", "x-mizzen-cluster")
		if r.While == conformance.WhileUpstream {
			r.During()
		}
		answer := wasmtest.H(r.Answer.Headers...)
		if r.Answer.Status != 0 {
			answer = append(answer, wasmtest.H(":status: "+strconv.Itoa(r.Answer.Status))...)
		}
		st.Response(answer)
		s.settle(st, &conformance.Request{}, begun)
	}
	o.Waited = s.vm.Now().Sub(begun)
	s.answer(st, o)
	o.Annotations = annotations(st)
	o.Flags = split(o.Annotations["flags"])
	if s.vm.Err() == nil && st.Paused() {
		return nil, errors.New("the stream is still held")
	}
	return o, s.vm.Err()
}

// settle lets time pass until the module lets go of the stream; false: the client has gone away.
func (s *wazeroSession) settle(st *wasmtest.Stream, r *conformance.Request, begun time.Time) bool {
	const step, most = 5 * time.Millisecond, 10 * time.Minute
	for first := true; st.Paused() && st.Reply() == nil && s.vm.Err() == nil && s.vm.Now().Sub(begun) < most; first = false {
		if first && r.While == conformance.WhileDelayed {
			r.During()
		}
		if r.Leaves > 0 && s.vm.Now().Sub(begun) >= r.Leaves {
			return false
		}
		s.vm.Advance(step)
	}
	return true
}

// properties are what Envoy would tell of the route that it has selected, and of the client. A wasm filter is never
// told about the route that it has chosen itself, so what that says stands beside what the first says, by token.
func (s *wazeroSession) properties(r *conformance.Request, h wasmtest.Headers) map[string]string {
	const metadata = "xds.route_metadata.filter_metadata.mizzen.config"
	i, name, _ := s.c.Select(getter(h))
	p := map[string]string{"source.address": r.Source + ":4711", "xds.route_name": name}
	if i >= 0 && s.c.Routes[i].Config != nil {
		p[metadata] = string(s.c.Routes[i].Config)
	}
	for _, route := range s.c.Routes {
		if route.Token != "" && route.Config != nil {
			p[metadata+"."+route.Token] = string(route.Config)
		}
	}
	return p
}

// answer reads what the client gets, a local reply to a gRPC request as Envoy sends it.
func (s *wazeroSession) answer(st *wasmtest.Stream, o *conformance.Outcome) {
	reply := st.Reply()
	if reply == nil {
		o.Status, _ = strconv.Atoi(st.Downstream().Get(":status"))
		o.Headers = multimap(st.Downstream(), ":status")
		return
	}
	o.Status, o.Headers, o.Body, o.Details = reply.Status, multimap(reply.Headers), reply.Body, reply.Details
	content, ok := strings.CutPrefix(st.Upstream().Get("content-type"), "application/grpc")
	if !ok || content != "" && content[0] != '+' && content[0] != ';' {
		return
	}
	code := reply.GRPCStatus
	if code < 0 {
		code = (&filter.Reply{Status: reply.Status}).GRPCCode()
	}
	o.Headers["grpc-status"], o.Headers["grpc-message"] = []string{strconv.Itoa(code)}, []string{reply.Body}
	o.Status, o.Body = 200, ""
}

// annotations are the properties that the module set for access logs.
func annotations(st *wasmtest.Stream) map[string]string {
	out := map[string]string{}
	for _, k := range annotationKeys() {
		if v := st.Property("mizzen." + k); v != "" {
			out[k] = v
		}
	}
	return out
}

// Counter implements conformance.Session.
func (s *wazeroSession) Counter(series string, _ func(int64) bool) (int64, error) {
	name, labels, err := labelled(series)
	if err != nil {
		return 0, err
	}
	return s.vm.Metric("mizzen_" + name + labels), nil
}

// labelled writes a series as the wasm host names it: ";label=value" for each label.
func labelled(series string) (name, labels string, err error) {
	name, rest, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	for _, k := range registry.Kinds() {
		for _, m := range k.Metrics {
			if m.Name != name {
				continue
			}
			for i, v := range strings.Split(rest, ",") {
				if i < len(m.Labels) {
					labels += ";" + m.Labels[i] + "=" + v
				}
			}
			return name, labels, nil
		}
	}
	return "", "", fmt.Errorf("no policy has a metric %s", name)
}

func getter(h wasmtest.Headers) func(string) (string, bool) {
	return func(name string) (string, bool) { return h.Get(name), h.Has(name) }
}

func multimap(h wasmtest.Headers, without ...string) map[string][]string {
	out := map[string][]string{}
	for _, e := range h {
		out[e[0]] = append(out[e[0]], e[1])
	}
	for _, name := range without {
		delete(out, name)
	}
	return out
}
