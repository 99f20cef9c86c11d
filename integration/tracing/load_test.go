package tracing_test

import (
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// load sends requests until stopped, and counts those that did not succeed.
type load struct {
	stop         chan struct{}
	wg           sync.WaitGroup
	sent, failed atomic.Int64
}

func startLoad(url string, clients int) *load {
	l := &load{stop: make(chan struct{})}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}, Timeout: 20 * time.Second}
	for range clients {
		l.wg.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				l.sent.Add(1)
				resp, err := client.Get(url)
				if err != nil || resp.StatusCode != http.StatusOK {
					l.failed.Add(1)
				}
				if err == nil {
					resp.Body.Close()
				}
			}
		})
	}
	return l
}

func (l *load) end() {
	close(l.stop)
	l.wg.Wait()
}

// TestDeadCollector puts load on a proxy whose collector is away, then answers with errors, then is back: no request
// fails, what is lost is counted, and everything that came is either exported, dropped or under way.
func TestDeadCollector(t *testing.T) {
	var status atomic.Int64
	app := envoytest.NewUpstream(t, "app", func(http.ResponseWriter, *http.Request) {})
	box := newMailbox(t, func() int { return int(status.Load()) })
	proxy, away := newSwitch(t, box.Port)
	e := hop{service: "app", kind: "server", protocol: "zipkin", to: app.Port, collector: proxy, workers: 2}.start(t)
	counted := func() (exported, full, lost int64) {
		e.Get(t, 10000, "/", "b3: 0") // counts are told with a request
		for name, n := range e.Stats(t, "trace_spans") {
			switch {
			case has(name, "exported"):
				exported += n
			case has(name, "queue_full"):
				full += n
			case has(name, "unreachable"):
				lost += n
			}
		}
		return exported, full, lost
	}
	l := startLoad("http://"+e.Addr(10000)+"/", 4)
	envoytest.Await(t, 30*time.Second, "spans are exported", func() bool { n, _, _ := counted(); return n > 100 })
	away(true)
	envoytest.Await(t, 60*time.Second, "the queue is full and spans are dropped", func() bool { _, n, _ := counted(); return n > 0 })
	envoytest.Await(t, 60*time.Second, "the collector is given up", func() bool { _, _, n := counted(); return n > 0 })
	status.Store(503)
	away(false)
	_, _, lost := counted()
	envoytest.Await(t, 60*time.Second, "the collector's errors are counted", func() bool { _, _, n := counted(); return n > lost })
	status.Store(0)
	before, _, _ := counted()
	envoytest.Await(t, 60*time.Second, "spans are exported again", func() bool { n, _, _ := counted(); return n > before })
	l.end()
	envoytest.Await(t, 30*time.Second, "every request's span is accounted for", func() bool {
		exported, full, lost := counted()
		return exported+full+lost == l.sent.Load()
	})
	if n := l.failed.Load(); n != 0 {
		t.Errorf("%d of %d requests failed", n, l.sent.Load())
	}
	t.Logf("%d requests, %d spans in the collector", l.sent.Load(), len(box.got()))
}

// TestWasm: the wasm module exports through Envoy too.
func TestWasm(t *testing.T) {
	envoytest.Find(t)
	file := filepath.Join(envoytest.Root(), "build", "mizzen.wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/mizzen", file); err != nil {
		t.Fatal(err)
	}
	app := envoytest.NewUpstream(t, "app")
	box := newMailbox(t, nil)
	e := hop{service: "app", kind: "client", protocol: "zipkin", to: app.Port, collector: box.Port,
		module: func(config string) static.Obj { return static.WasmFilter(file, "mizzen", config) }}.start(t)
	a := e.Get(t, 10000, "/x", "b3: "+traceID+"-"+caller+"-1")
	envoytest.Await(t, 30*time.Second, "a span of the wasm module", func() bool { return len(box.got()) > 0 })
	s := box.got()[0]
	if a.Status != 200 || s.TraceID != traceID || s.ParentID != caller || s.ID != a.Echo().Headers["x-b3-spanid"] || s.Kind != "CLIENT" ||
		s.Tags["http.response.status_code"] != "200" || s.Tags["upstream_cluster"] != "next" || s.RemoteEndpoint.Port != app.Port {
		t.Errorf("span %+v, answer %+v", s, a)
	}
	if n := e.Stats(t, "spans_exported")["wasmcustom.mizzen_trace_spans_exported_total"]; n != 1 {
		t.Errorf("counted %d, all: %v", n, e.Stats(t, "mizzen"))
	}
}
