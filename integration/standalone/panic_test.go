package standalone

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// panicHost is a host with the policy for tests in it, in a real Envoy.
type panicHost struct {
	name string
	// module builds what Envoy loads; filter and route configure the chain, as a filter and as more of a route.
	module        func(t *testing.T) string
	filter, route func(module, config string) static.Obj
	// told is where the access log finds annotations.
	told string
	// late: a route's configuration is read when a request needs it.
	late bool
	// swallows: what fails in the host itself is counted, and as if the policy had not asked for it. contrib's SDK panics
	// where it is too late to count or to annotate.
	swallows bool
}

func panicHosts() []panicHost {
	typed := func(o static.Obj) static.Obj { return static.Obj{"typed_per_filter_config": o} }
	return []panicHost{{
		name: "dynmod", told: "DYNAMIC_METADATA(mizzen:panic)",
		module: func(t *testing.T) string { return envoytest.BuildModule(t, "filters/cmd/probe", "probe") },
		filter: func(_, config string) static.Obj { return static.ModuleFilter("probe", "mizzen", "mizzen", config) },
		route: func(_, config string) static.Obj {
			return typed(static.ModuleRoute("probe", "mizzen", "mizzen", config))
		},
	}, {
		name: "wasm", told: "FILTER_STATE(wasm.mizzen.panic:PLAIN)", late: true,
		module: func(t *testing.T) string { return wasmModule(t, "probe", "probe") },
		filter: func(module, config string) static.Obj { return static.WasmFilter(module, "mizzen", config) },
		route: func(_, config string) static.Obj {
			return static.Obj{"metadata": static.Obj{"filter_metadata": static.Obj{"mizzen": static.Obj{"config": config}}}}
		},
	}, {
		name: "golanghost", told: "DYNAMIC_METADATA(mizzen:panic)", swallows: true,
		module: golanghostModule,
		filter: func(_, config string) static.Obj {
			return static.ModuleFilter("golanghost", "mizzen@libgolangprobe.so", "mizzen", config)
		},
		route: func(_, config string) static.Obj {
			return typed(static.ModuleRoute("golanghost", "mizzen@libgolangprobe.so", "mizzen", config))
		},
	}}
}

func golanghostModule(t *testing.T) string {
	t.Helper()
	envoytest.BuildModule(t, "filters/cmd/golangprobe", "golangprobe")
	so := filepath.Join(envoytest.Root(), "build", "libgolanghost.so")
	cmd := exec.Command(filepath.Join(envoytest.Root(), "scripts", "golanghost"), so)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build golanghost: %v\n%s", err, out)
	}
	return so
}

// panicRig is an Envoy with a listener that fails open, one that fails closed, and one that comes from a file.
type panicRig struct {
	panicHost
	*envoytest.Envoy
	built    string
	upstream int
	file     string
	port     int // of the listener from the file
}

const open, closed = 10000, 10001

func (h panicHost) start(t *testing.T) *panicRig {
	t.Helper()
	u := envoytest.NewUpstream(t, "upstream")
	r := &panicRig{panicHost: h, built: h.module(t), upstream: u.Port, file: filepath.Join(t.TempDir(), "lds.json"), port: envoytest.FreePort(t)}
	r.update(t, `{"probe":{"tag":"first"}}`, `{"probe":{"tag":"route"}}`)
	bad := `{"probe":{"panic":true}}`
	b := r.bootstrap(r.listener("open", open, `{"probe":{"tag":"base"}}`, bad), r.listener("closed", closed, `{"failure":"closed","probe":{"tag":"base"}}`, bad))
	b["node"] = static.Obj{"id": "test", "cluster": "test"}
	b["dynamic_resources"] = static.Obj{"lds_config": static.Obj{"path_config_source": static.Obj{"path": r.file}}}
	config, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	r.Envoy = envoytest.Start(t, envoytest.Options{Config: string(config), Module: r.built})
	return r
}

// listener has a route /late with a level of its own, if the host reads that late enough to start with it.
func (r *panicRig) listener(name string, port int, config, late string) static.Listener {
	l := static.Listener{Name: name, Port: port, Filters: static.List{r.filter(r.built, config)},
		AccessLog: static.TextLog("LOG " + name + " %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %" + r.told + "%")}
	if r.late {
		l.Routes = static.List{static.Route("late", "/late", "upstream", r.route(r.built, late))}
	}
	l.Routes = append(l.Routes, static.Route("all", "/", "upstream", nil))
	return l
}

func (r *panicRig) bootstrap(listeners ...static.Listener) (out static.Obj) {
	text := static.Bootstrap(map[string]int{"upstream": r.upstream}, listeners...)
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		panic(err) // Bootstrap writes JSON
	}
	return out
}

// update gives the listener of the file another configuration, and its route /route too.
func (r *panicRig) update(t *testing.T, config, route string) {
	t.Helper()
	l := r.listener("updated", r.port, config, "")
	l.Routes = static.List{static.Route("route", "/route", "upstream", r.route(r.built, route)), static.Route("all", "/", "upstream", nil)}
	resource := r.bootstrap(l)["static_resources"].(static.Obj)["listeners"].(static.List)[0].(static.Obj)
	resource["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener"
	b, err := json.Marshal(static.Obj{"resources": static.List{resource}})
	if err == nil {
		err = os.WriteFile(r.file+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(r.file+".new", r.file) // Envoy looks when a file is moved there
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *panicRig) getUpdated(t *testing.T, path string) *envoytest.Answer {
	t.Helper()
	return r.Do(t, envoytest.NewRequest(t, "GET", fmt.Sprintf("http://127.0.0.1:%d%s", r.port, path), ""))
}

// TestPanics injects a panic into every callback of every host: Envoy lives, the request follows the failure policy, a
// counter tells.
func TestPanics(t *testing.T) {
	envoytest.Find(t)
	for _, h := range panicHosts() {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			r := h.start(t)
			panics := r.panicsOfRequests(t)
			panics += r.panicOfAClientThatLeaves(t)
			r.panicsOfConfigurations(t)
			envoytest.Await(t, 10*time.Second, "every exchange has ended, every panic is counted", func() bool {
				begun, ended := sum(r.Stats(t, "probe_begun")), sum(r.Stats(t, "probe_ended"))
				return begun > 0 && begun == ended && sum(r.Stats(t, "probe_open")) == 0 && sum(r.Stats(t, "panics_total")) == panics
			})
			if !r.Running() {
				t.Fatal("Envoy does not live")
			}
			r.Stop()
			for _, line := range []string{"LOG open 200 via_upstream probe: asked to panic\n", "LOG open 200 via_upstream probe: asked to panic when resumed\n", "LOG closed 500 mizzen_panic probe: asked to panic\n"} {
				if !strings.Contains(r.Log(), line) {
					t.Errorf("the access log lacks %q", line)
				}
			}
		})
	}
}

// panicsOfRequests returns how many panics there were.
func (r *panicRig) panicsOfRequests(t *testing.T) (panics int64) {
	for _, c := range []struct {
		name, probe  string
		open, closed int
		panics       int64 // in each of the two
	}{
		{"on the request", "panic", 200, 500, 1},
		{"on the resumed request", "wait=5ms panic-resumed", 200, 500, 1},
		{"on the answer to a call", "call=upstream panic-resumed", 200, 500, 1},
		{"on the failure of a call", "call=nobody panic-resumed", 200, 500, 1},
		{"on the response", "panic-response", 200, 500, 1},
		{"on the resumed response", "wait-response=5ms panic-response-resumed", 200, 500, 1},
		{"on the response to a reply", "reply=418 panic-response", 418, 500, 1},
		{"on a resumed request that was to be answered", "wait=5ms panic-resumed reply=418", 200, 500, 1},
		{"at the end", "panic-end", 200, 200, 1},
		{"at the end of a reply", "reply=418 panic-end", 418, 418, 1},
		{"twice", "panic panic-end", 200, 500, 2},
		{"in the host, on the request", "host-panic", 200, 500, 1},
		{"in the host, on the response", "host-panic-response", 200, 500, 1},
		{"in the host, at the end", "host-panic-end", 200, 200, 1},
		{"none, but a wrong count", "miscount", 200, 200, 0},
		{"none", "", 200, 200, 0},
	} {
		if r.swallows && strings.HasPrefix(c.probe, "host-panic") {
			c.closed = 200
		}
		t.Run(c.name, func(t *testing.T) {
			for _, l := range []struct{ port, want int }{{open, c.open}, {closed, c.closed}} {
				a := r.Get(t, l.port, "/", "x-probe: "+c.probe)
				if a.Status != l.want {
					t.Errorf("fails %s: status %d, want %d", map[int]string{open: "open", closed: "closed"}[l.port], a.Status, l.want)
				}
				if tag := a.Echo().Headers["x-probe-tag"]; a.Status == 200 && !strings.Contains(c.probe, "panic") && tag != "base" {
					t.Errorf("the policy was left out: %s", a.Body)
				}
			}
		})
		panics += 2 * c.panics
	}
	return panics
}

// panicOfAClientThatLeaves panics at the end of an exchange whose client left while a policy waited.
func (r *panicRig) panicOfAClientThatLeaves(t *testing.T) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	req := envoytest.NewRequest(t, "GET", "http://"+r.Addr(open)+"/", "", "x-probe: wait=1m panic-end").WithContext(ctx)
	if resp, err := http.DefaultClient.Do(req); err == nil {
		resp.Body.Close()
		t.Error("answered before the wait ended")
	}
	return 1
}

// panicsOfConfigurations: Envoy refuses a configuration that makes a policy panic, and goes on with the one before.
func (r *panicRig) panicsOfConfigurations(t *testing.T) {
	const good, bad = `{"probe":{"tag":"first"}}`, `{"probe":{"panic":true}}`
	t.Run("in a listener's configuration", func(t *testing.T) { r.refuses(t, bad, good) })
	if !r.late {
		t.Run("in a route's configuration", func(t *testing.T) { r.refuses(t, good, bad) })
		return
	}
	t.Run("in a route's configuration", func(t *testing.T) {
		for port, want := range map[int]int{open: 200, closed: 500} {
			if a := r.Get(t, port, "/late"); a.Status != want {
				t.Errorf("status %d, want %d", a.Status, want)
			}
		}
		if got := sum(r.Stats(t, "route_config_errors_total")); got != 2 {
			t.Errorf("%d wrong configurations of routes counted, want 2", got)
		}
	})
}

func (r *panicRig) refuses(t *testing.T, config, route string) {
	t.Helper()
	before := sum(r.Stats(t, "lds.update_rejected"))
	r.update(t, config, route)
	envoytest.Await(t, 20*time.Second, "Envoy refuses the configuration", func() bool { return sum(r.Stats(t, "lds.update_rejected")) > before })
	if a := r.getUpdated(t, "/"); a.Status != 200 || a.Echo().Headers["x-probe-tag"] != "first" {
		t.Errorf("after a refused update: %d %s", a.Status, a.Body)
	}
	if !strings.Contains(r.Log(), "asked to panic in the configuration") {
		t.Error("Envoy's log does not say why")
	}
}
