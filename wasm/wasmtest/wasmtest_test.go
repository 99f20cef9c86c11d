package wasmtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// hello is compiled once for all tests.
var hello *wasmtest.Module

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	root, err := filepath.Abs("../..")
	if err == nil {
		file := filepath.Join(root, "build", "hello.wasm")
		if err = wasmtest.BuildGo(root, "./wasm/cmd/hello", file); err == nil {
			hello, err = wasmtest.Compiler{CacheDir: filepath.Join(root, "build", "wazero")}.Load(file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer hello.Close()
	return m.Run()
}

func start(t *testing.T) *wasmtest.VM {
	t.Helper()
	return wasmtest.New(t, hello, wasmtest.Options{Config: "good day", Properties: map[string]string{"connection.id": "7"}})
}

func TestHeaders(t *testing.T) {
	vm := start(t)
	s := vm.Request(wasmtest.H("x-gone: 1", "x-twice: a", "x-twice: b", "x-last: 1"))
	if s.Paused() || s.Reply() != nil {
		t.Fatal("stopped")
	}
	got := s.Upstream()
	if got.Get("x-greeting") != "good day 7" || got.Has("x-gone") || strings.Join(got.Values("x-twice"), ",") != "once" || got.Get("x-last") != "1" {
		t.Errorf("upstream gets %v", got)
	}
	if got.Get(":path") != "/" || got.Get(":authority") != "example.test" {
		t.Errorf("pseudo headers %v", got)
	}
	s.ResponseHeaders(wasmtest.H("content-length: 5"), false)
	s.ResponseBody([]byte("he"), false)
	if len(s.DownstreamBody()) != 0 || !s.Paused() {
		t.Errorf("half a body went on: %q", s.DownstreamBody())
	}
	s.ResponseBody([]byte("llo"), true)
	if h := s.Downstream(); h.Get(":status") != "200" || h.Get("x-signed") != "hello" || h.Has("content-length") || string(s.DownstreamBody()) != "HELLO" {
		t.Errorf("client gets %v %q", h, s.DownstreamBody())
	}
	s.End()
	if logs := vm.Logs(); len(logs) != 1 || logs[0] != (wasmtest.Log{Level: "info", Message: "goodbye"}) {
		t.Errorf("logs %v", logs)
	}
	if vm.Metric("hello_requests") != 1 || vm.Streams() != 0 {
		t.Errorf("metrics %v, %d streams", vm.Metrics(), vm.Streams())
	}
}

func TestReply(t *testing.T) {
	vm := start(t)
	s := vm.Request(wasmtest.H("x-hello: reply"))
	r := s.Reply()
	if r == nil || r.Status != 403 || r.Body != "no\n" || r.Headers.Get("x-greeting") != "good day" || r.GRPCStatus != -1 {
		t.Fatalf("reply %+v", r)
	}
	if r.Headers.Get("x-signed") != "hello" {
		t.Error("the reply did not pass the module's response side, as it does in Envoy")
	}
	s.Response(nil)
	if s.Downstream().Get(":status") != "403" {
		t.Error("a second answer was taken")
	}
	s.End()
}

func TestWait(t *testing.T) {
	vm := start(t)
	s := vm.RequestHeaders(wasmtest.H("x-hello: wait"), false)
	s.RequestBody([]byte("body"), true)
	if !s.Paused() || !vm.Ticking() || len(s.UpstreamBody()) != 0 {
		t.Fatal("does not wait")
	}
	vm.Advance(99 * time.Millisecond)
	if !s.Paused() {
		t.Fatal("waits too short")
	}
	vm.Advance(time.Millisecond)
	if s.Paused() || vm.Ticking() || string(s.UpstreamBody()) != "body" {
		t.Errorf("still paused: %v, ticking: %v, body %q", s.Paused(), vm.Ticking(), s.UpstreamBody())
	}
	gone := vm.Request(wasmtest.H("x-hello: wait"))
	gone.End() // the client goes away; the module's tick must not trip over it
	vm.Advance(time.Second)
}

func TestCalls(t *testing.T) {
	vm := wasmtest.New(t, hello, wasmtest.Options{Config: "x", Clusters: []string{"people"}})
	cases := []struct {
		name string
		do   func(c *wasmtest.HTTPCall)
		want string
	}{
		{"answered", func(c *wasmtest.HTTPCall) { c.Respond(wasmtest.H(":status: 200"), []byte("ann"), nil) }, "ann"},
		{"reset", (*wasmtest.HTTPCall).Fail, "nobody"},
		{"timeout", func(*wasmtest.HTTPCall) { vm.Advance(500 * time.Millisecond) }, "nobody"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := vm.Request(wasmtest.H("x-hello: ask"))
			calls := vm.Calls()
			if len(calls) != 1 || calls[0].Cluster != "people" || calls[0].Headers.Get(":path") != "/who" || calls[0].Timeout != 500*time.Millisecond || !s.Paused() {
				t.Fatalf("calls %+v, paused %v", calls, s.Paused())
			}
			c.do(calls[0])
			if s.Paused() || s.Upstream().Get("x-who") != c.want || s.Property("hello.who") != c.want || len(vm.Calls()) != 0 {
				t.Errorf("upstream gets %v", s.Upstream())
			}
			s.End()
		})
	}
	other := wasmtest.New(t, hello, wasmtest.Options{Config: "x", Clusters: []string{}})
	if s := other.Request(wasmtest.H("x-hello: ask")); s.Paused() || len(other.Calls()) != 0 {
		t.Error("a call to an unknown cluster was taken")
	}
}

func TestDeath(t *testing.T) {
	vm, err := hello.Start(wasmtest.Options{Config: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	s := vm.Request(wasmtest.H("x-hello: panic"))
	if vm.Err() == nil || !strings.Contains(vm.Err().Error(), "as asked") {
		t.Errorf("after a panic: %v", vm.Err())
	}
	s.Response(nil) // a dead VM does nothing, and must not hang or panic
	s.End()
	vm.Advance(time.Second)
}

func TestRefusedConfig(t *testing.T) {
	_, err := hello.Start(wasmtest.Options{})
	if err == nil || !strings.Contains(err.Error(), "no greeting configured") {
		t.Errorf("error %v", err)
	}
}

func TestImports(t *testing.T) {
	if len(hello.Imports()) < 10 {
		t.Errorf("imports %v", hello.Imports())
	}
	if m := hello.Missing(); len(m) != 0 {
		t.Errorf("Envoy lacks %v", m)
	}
}

func TestBadModule(t *testing.T) {
	if _, err := (wasmtest.Compiler{}).Compile([]byte("no wasm")); err == nil {
		t.Error("compiled nonsense")
	}
	if _, err := wasmtest.Load("absent.wasm"); err == nil {
		t.Error("loaded nothing")
	}
}
