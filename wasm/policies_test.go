package wasm_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// modules are the .wasm files by name, compiled once for all tests: mizzen, and one for each policy.
var modules = map[string]*wasmtest.Module{}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	defer func() {
		for _, m := range modules {
			m.Close()
		}
	}()
	if err := load(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func load() error {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	commands := map[string]string{"mizzen": "mizzen", "probe": "probe"}
	for _, k := range registry.Kinds() {
		commands["mizzen-"+k.Name] = k.Name
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		file := filepath.Join(root, "build", name+".wasm")
		if err := wasmtest.BuildGo(root, "./wasm/cmd/"+commands[name], file); err != nil {
			return err
		}
		// Only the module that most tests use is worth compiling.
		c := wasmtest.Compiler{CacheDir: filepath.Join(root, "build", "wazero"), Interpreter: name != "mizzen"}
		if modules[name], err = c.Load(file); err != nil {
			return err
		}
	}
	return nil
}

// start starts a VM of the module with all policies.
func start(t *testing.T, config string) *wasmtest.VM {
	t.Helper()
	return wasmtest.New(t, modules["mizzen"], wasmtest.Options{Config: config})
}

// TestImports holds every module to what Envoy links: one more import, and Envoy refuses the whole module.
func TestImports(t *testing.T) {
	for name, m := range modules {
		if missing := m.Missing(); len(missing) != 0 {
			t.Errorf("%s.wasm imports what Envoy lacks: %s", name, strings.Join(missing, ", "))
		}
	}
}

// within asserts that hits of n are p*n within four standard deviations.
func within(t *testing.T, what string, hits, n int, p float64) {
	t.Helper()
	mean, sigma := p*float64(n), math.Sqrt(p*(1-p)*float64(n))
	if math.Abs(float64(hits)-mean) > 4*sigma {
		t.Errorf("%s: %d of %d, want %.0f ± %.0f (4 sigma)", what, hits, n, mean, 4*sigma)
	}
}

const (
	canaryConfig = `"canary":{"responseHeader":"x-canary","rules":[
		{"name":"testers","match":[{"headers":[{"name":"x-group","exact":"testers"}]}],"destinations":[{"name":"v2","cluster":"v2"}]},
		{"name":"all","destinations":[{"name":"v1","weight":80,"cluster":"v1"},{"name":"v2","weight":20,"cluster":"v2"}],
		 "sticky":{"key":{"cookie":"side"},"setCookie":{"path":"/"}}}]}`
	limitConfig   = `"ratelimit":{"limits":[{"name":"per-user","key":[{"header":"x-user"}],"requests":5,"per":"1m"}]}`
	tracingConfig = `"tracing":{"inject":["w3c","b3multi"],"sampling":{"percentage":50}}`
	faultConfig   = `"fault":{"rules":[
		{"name":"slow","match":[{"headers":[{"name":"x-demo","exact":"slow"}]}],"delay":{"percentage":100,"fixed":"300ms"}},
		{"name":"dead","match":[{"headers":[{"name":"x-demo","exact":"dead"}]}],"abort":{"percentage":100,"httpStatus":503}},
		{"name":"both","match":[{"headers":[{"name":"x-demo","exact":"both"}]}],"delay":{"percentage":100,"fixed":"1s"},"abort":{"percentage":100,"grpcStatus":14}},
		{"name":"lost","match":[{"headers":[{"name":"x-demo","exact":"lost"}]}],"abort":{"percentage":100,"httpStatus":502,"afterResponse":true}},
		{"name":"flaky","match":[{"path":{"exact":"/flaky"}}],"abort":{"percentage":20,"httpStatus":503}}],"maxActive":2}`
)

func TestCanary(t *testing.T) {
	vm := start(t, "{"+canaryConfig+"}")
	decide := func(headers ...string) (side, cookie string) {
		s := vm.Request(wasmtest.H(headers...))
		s.Response(nil)
		s.End()
		cookie, _, _ = strings.Cut(s.Downstream().Get("set-cookie"), ";")
		side = s.Upstream().Get("x-mizzen-cluster")
		if !strings.HasSuffix(s.Downstream().Get("x-canary"), "/"+side) || !strings.HasSuffix(s.Property("mizzen.canary"), "/"+side) {
			t.Fatalf("sent to %s, told %q and %q", side, s.Downstream().Get("x-canary"), s.Property("mizzen.canary"))
		}
		return side, cookie
	}
	t.Run("match", func(t *testing.T) {
		if side, _ := decide("x-group: testers"); side != "v2" {
			t.Errorf("a tester is sent to %s", side)
		}
	})
	t.Run("share, sticky, unforgeable", func(t *testing.T) {
		const n = 2000
		v2 := 0
		for i := range n {
			side, cookie := decide()
			if side == "v2" {
				v2++
			}
			if i%10 != 0 {
				continue
			}
			for _, forged := range []string{"v1", "v2"} {
				if again, set := decide("cookie: "+cookie, "x-mizzen-cluster: "+forged); again != side || set != "" {
					t.Fatalf("%s was on %s, now on %s; set again: %q", cookie, side, again, set)
				}
			}
		}
		within(t, "v2", v2, n, 0.2)
		if got := vm.Metric("mizzen_canary_forged_total"); got != n/10*2 {
			t.Errorf("%d forged, want %d", got, n/10*2)
		}
		if got := vm.Metric("mizzen_canary_decisions_total;rule=all;destination=v2;sticky=new"); got != int64(v2) {
			t.Errorf("%d decisions counted, want %d", got, v2)
		}
	})
}

// TestCanaryMovesNobodyBack: as the canary's weight grows, keys move to it only. The same hash as in every other host.
func TestCanaryMovesNobodyBack(t *testing.T) {
	on := map[int]bool{}
	for _, weight := range []int{5, 20, 60} {
		vm := start(t, fmt.Sprintf(`{"canary":{"rules":[{"name":"r","sticky":{"key":{"header":"x-user"}},
			"destinations":[{"name":"v1","weight":%d,"cluster":"v1"},{"name":"v2","weight":%d,"cluster":"v2"}]}]}}`, 100-weight, weight))
		const n = 2000
		v2 := 0
		for i := range n {
			s := vm.Request(wasmtest.H(fmt.Sprintf("x-user: u%d", i)))
			if canary := s.Upstream().Get("x-mizzen-cluster") == "v2"; canary {
				on[i] = true
				v2++
			} else if on[i] {
				t.Fatalf("at %d %%, u%d went back to v1", weight, i)
			}
			s.End()
		}
		within(t, fmt.Sprintf("v2 at %d %%", weight), v2, n, float64(weight)/100)
	}
}

func TestFault(t *testing.T) {
	vm := start(t, "{"+faultConfig+"}")
	cases := []struct {
		name    string
		headers []string
		delay   time.Duration
		status  int // of a local reply, 0: none
		grpc    int
	}{
		{"nothing", nil, 0, 0, 0},
		{"delay", []string{"x-demo: slow"}, 300 * time.Millisecond, 0, 0},
		{"abort", []string{"x-demo: dead"}, 0, 503, -1},
		{"delay and grpc abort", []string{"x-demo: both", "content-type: application/grpc"}, time.Second, 503, 14},
		{"delay and grpc abort of a plain request", []string{"x-demo: both"}, time.Second, 503, -1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := vm.Request(wasmtest.H(c.headers...))
			defer s.End()
			if c.delay > 0 {
				vm.Advance(c.delay - time.Millisecond)
				if !s.Paused() || !vm.Ticking() {
					t.Fatal("resumed too early")
				}
				vm.Advance(6 * time.Millisecond)
			}
			if s.Paused() || vm.Ticking() {
				t.Fatalf("paused %v, ticking %v", s.Paused(), vm.Ticking())
			}
			switch r := s.Reply(); {
			case c.status == 0 && r == nil:
			case r == nil:
				t.Error("no reply")
			case r.Status != c.status || r.GRPCStatus != c.grpc || r.Details != "mizzen_fault_abort" || !strings.HasSuffix(s.Property("mizzen.flags"), "FI"):
				t.Errorf("reply %+v, flag %q", r, s.Property("mizzen.flags"))
			}
		})
	}
	t.Run("answer lost", func(t *testing.T) {
		s := vm.Request(wasmtest.H("x-demo: lost"))
		s.ResponseHeaders(wasmtest.H("x-secret: 1"), false)
		if r := s.Reply(); r == nil || r.Status != 502 || s.Downstream().Has("x-secret") {
			t.Errorf("reply %+v, client gets %v", r, s.Downstream())
		}
		s.End()
	})
	t.Run("client gone during the delay, and no more than maxActive", func(t *testing.T) {
		a, b := vm.Request(wasmtest.H("x-demo: slow")), vm.Request(wasmtest.H("x-demo: slow"))
		if c := vm.Request(wasmtest.H("x-demo: slow")); c.Paused() {
			t.Error("a third fault in progress")
		}
		a.End()
		if c := vm.Request(wasmtest.H("x-demo: slow")); !c.Paused() {
			t.Error("the place was not given back")
		}
		vm.Advance(time.Second)
		b.End()
		if got := vm.Metric("mizzen_fault_active"); got != 0 {
			t.Errorf("%d faults in progress", got)
		}
		if vm.Metric("mizzen_fault_overflow_total") != 1 || vm.Ticking() {
			t.Errorf("overflow %d, ticking %v", vm.Metric("mizzen_fault_overflow_total"), vm.Ticking())
		}
	})
	t.Run("share", func(t *testing.T) {
		const n = 2000
		aborted := 0
		for range n {
			s := vm.Request(wasmtest.H(":path: /flaky"))
			if s.Reply() != nil {
				aborted++
			}
			s.End()
		}
		within(t, "aborted", aborted, n, 0.2)
	})
}

func TestManyDelays(t *testing.T) {
	vm := start(t, `{"fault":{"rules":[{"name":"d","delay":{"percentage":100,"distribution":{"kind":"uniform","min":"10ms","max":"200ms"}}}]}}`)
	open := map[*wasmtest.Stream]bool{}
	for i := range 300 {
		open[vm.Request(wasmtest.H(fmt.Sprintf("x-n: %d", i)))] = true
	}
	for range 60 {
		vm.Advance(5 * time.Millisecond)
		for s := range open {
			if !s.Paused() {
				s.Response(nil)
				s.End()
				delete(open, s)
			}
		}
	}
	if len(open) != 0 || vm.Ticking() || vm.Streams() != 0 {
		t.Errorf("%d streams still wait, ticking %v", len(open), vm.Ticking())
	}
}

func TestRateLimit(t *testing.T) {
	vm := start(t, "{"+limitConfig+"}")
	ask := func(user string) *wasmtest.Stream {
		s := vm.Request(wasmtest.H("x-user: " + user))
		s.Response(nil)
		s.End()
		return s
	}
	for i := range 5 {
		if s := ask("ann"); s.Reply() != nil || s.Downstream().Get("x-ratelimit-remaining") != fmt.Sprint(4-i) {
			t.Errorf("request %d: %v", i+1, s.Downstream())
		}
	}
	s := ask("ann")
	if r := s.Reply(); r == nil || r.Status != 429 || r.Details != "mizzen_rate_limited" || r.Headers.Get("retry-after") != "12" || s.Property("mizzen.ratelimit") != "per-user" {
		t.Errorf("the sixth: %+v", r)
	}
	if ask("bob").Reply() != nil {
		t.Error("another user is refused")
	}
	vm.Advance(11 * time.Second)
	if ask("ann").Reply() == nil {
		t.Error("passed before its time")
	}
	vm.Advance(time.Second)
	if ask("ann").Reply() != nil {
		t.Error("refused after a fifth of a minute")
	}
	if got := vm.Metric("mizzen_ratelimit_requests_total;limit=per-user;result=limited;scope=local"); got != 2 {
		t.Errorf("%d refusals counted: %v", got, vm.Metrics())
	}
}

func TestTracing(t *testing.T) {
	vm := start(t, "{"+tracingConfig+"}")
	const trace = "463ac35c9f6413ad48485a3953bb6124"
	ask := func(headers ...string) wasmtest.Headers {
		s := vm.Request(wasmtest.H(headers...))
		s.End()
		return s.Upstream()
	}
	const n = 1000
	sampled := 0
	for range n {
		h := ask()
		parts := strings.Split(h.Get("traceparent"), "-")
		if len(parts) != 4 || parts[1] != h.Get("x-b3-traceid") || len(h.Get("x-request-id")) != 36 {
			t.Fatalf("new trace: %v", h)
		}
		if parts[3] == "01" {
			sampled++
		}
	}
	within(t, "sampled", sampled, n, 0.5)
	h := ask("uber-trace-id: " + trace + ":a2fb4a1d1a96d312:0:1")
	if tp := h.Get("traceparent"); !strings.HasPrefix(tp, "00-"+trace+"-") || !strings.HasSuffix(tp, "-01") || h.Get("x-b3-sampled") != "1" {
		t.Errorf("from jaeger: %v", h)
	}
}
