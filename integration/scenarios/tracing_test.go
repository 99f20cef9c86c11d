package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 17: Telemetry chooses who makes the spans, and they arrive in a real Zipkin as one trace over all hops.
func TestTelemetry(t *testing.T) {
	port := zipkin(t)
	m := shared.Mesh(t)
	t.Run("who makes the spans", func(t *testing.T) { tracers(t, m, port) })
	t.Run("by workload", func(t *testing.T) { tracingByWorkload(t, m, port) })
}

func tracers(t *testing.T, m *meshtest.Mesh, port int) {
	m.Apply(t, collectorEntry("zipkin.example", "http", port))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: zipkin
      zipkin: {service: zipkin.example, port: %d}
    defaultProviders: {tracing: [zipkin]}
`, port)))
	for _, c := range []struct{ tracer, tag, want string }{
		{"mizzen", "mizzen.route", "default"}, // only Mizzen's spans have its route
		{"envoy", "upstream_cluster.name", "outbound|9080||reviews.default.svc.cluster.local;"},
	} {
		t.Run(c.tracer, func(t *testing.T) {
			m.Apply(t, telemetry("everywhere", "istio-system", c.tracer, "  - randomSamplingPercentage: 100\n"))
			spans := traced(t, m, port, []string{"CLIENT productpage.default", "SERVER reviews.default", "CLIENT reviews.default", "SERVER ratings.default"}, func(s map[string]span) bool {
				// All hops: connections that were open stay with the listener that they have for a while.
				for _, one := range s {
					if (one.Tags["mizzen.route"] != "") != (c.tracer == "mizzen") {
						return false
					}
				}
				return s["CLIENT productpage.default"].Tags[c.tag] != ""
			})
			out, in, on, last := spans["CLIENT productpage.default"], spans["SERVER reviews.default"], spans["CLIENT reviews.default"], spans["SERVER ratings.default"]
			if out.ParentID != callerSpan || in.ParentID != out.ID || on.ParentID != in.ID || last.ParentID != on.ID {
				t.Errorf("the chain is broken: %+v", spans)
			}
			if got := out.Tags[c.tag]; got != c.want {
				t.Errorf("tag %s is %q, want %q, in %v", c.tag, got, c.want, out.Tags)
			}
		})
	}
}

// Telemetries of one workload and one side: no spans where they say so, but the context goes on; custom tags.
func tracingByWorkload(t *testing.T, m *meshtest.Mesh, port int) {
	m.Apply(t, collectorEntry("zipkin.example", "http", port))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: zipkin
      zipkin: {service: zipkin.example, port: %d}
`, port)))
	m.Apply(t, telemetry("own", "default", "", "  - providers: [{name: zipkin}]\n")+"---\n"+
		telemetry("reviews", "default", "", `  - match: {mode: CLIENT}
    disableSpanReporting: true
  - match: {mode: SERVER}
    customTags: {team: {literal: {value: blue}}, who: {header: {name: x-who, defaultValue: nobody}}}
  selector: {matchLabels: {app: reviews}}
`))
	spans := traced(t, m, port, []string{"CLIENT productpage.default", "SERVER reviews.default", "SERVER ratings.default"}, func(s map[string]span) bool {
		return s["SERVER reviews.default"].Tags["team"] == "blue" && s["CLIENT reviews.default"].ID == ""
	})
	if got := spans["SERVER reviews.default"].Tags["who"]; got != "me" {
		t.Errorf("custom tag from a header is %q", got)
	}
	if spans["SERVER ratings.default"].TraceID != spans["CLIENT productpage.default"].TraceID {
		t.Error("the context did not go on past the hop that reports no span")
	}
}

const callerSpan = "a2fb4a1d1a96d312"

// traced sends traced requests until the spans of one are those wanted and settled says so.
func traced(t *testing.T, m *meshtest.Mesh, zipkin int, want []string, settled func(map[string]span) bool) map[string]span {
	t.Helper()
	return oneTrace(t, func(id string) {
		a := m.From(t, "productpage-v1-0").Must(t, reviews, "x-b3-traceid: "+id, "x-b3-spanid: "+callerSpan, "x-b3-sampled: 1", "x-who: me")
		if a.Code != 200 {
			t.Fatalf("got %d %q", a.Code, a.Body)
		}
	}, func(id string) map[string]span { return spansOf(t, zipkin, id) }, func(got map[string]span) bool {
		return hasAll(got, want) && settled(got)
	})
}

// oneTrace sends requests, each with a trace of its own, until the spans of one are right, and returns them. It takes more than one: after a
// change each connection that is open has one answer left from the listener that it came by.
func oneTrace[S any](t *testing.T, send func(id string), spans func(id string) S, right func(S) bool) S {
	t.Helper()
	const patience, between = 10 * time.Second, 500 * time.Millisecond // until a trace is whole; from one request to the next
	type request struct {
		id   string
		sent time.Time
	}
	var under []request
	var last S
	n := uint64(time.Now().UnixNano())
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(between / 5) {
		if len(under) == 0 || time.Since(under[len(under)-1].sent) >= between {
			n++
			r := request{fmt.Sprintf("463ac35c9f6413ad%016x", n), time.Now()}
			send(r.id)
			under = append(under, r)
		}
		for _, r := range under {
			if last = spans(r.id); right(last) {
				return last
			}
		}
		under = slices.DeleteFunc(under, func(r request) bool { return time.Since(r.sent) > patience })
	}
	t.Fatalf("no trace has the spans wanted; the last one's are %+v", last)
	return last
}

func hasAll(spans map[string]span, want []string) bool {
	for _, k := range want {
		if spans[k].ID == "" {
			return false
		}
	}
	return true
}

// span is one of Zipkin's.
type span struct {
	TraceID, ID, ParentID, Kind string
	LocalEndpoint               struct{ ServiceName string }
	Tags                        map[string]string
}

// spansOf returns what Zipkin has of a trace, by kind and service.
func spansOf(t *testing.T, port int, id string) map[string]span {
	t.Helper()
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v2/trace/%s", port, id))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var spans []span
	if json.NewDecoder(res.Body).Decode(&spans) != nil {
		return nil // not there yet
	}
	out := map[string]span{}
	for _, s := range spans {
		out[s.Kind+" "+s.LocalEndpoint.ServiceName] = s
	}
	return out
}

func telemetry(name, namespace, tracer, tracing string) string {
	annotation := ""
	if tracer != "" {
		annotation = ", annotations: {mizzen.dev/tracer: " + tracer + "}"
	}
	return fmt.Sprintf("apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: %s, namespace: %s%s}\nspec:\n  tracing:\n%s", name, namespace, annotation, tracing)
}

func meshConfig(text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |" + text
}

// collectorEntry makes a program of this machine a service of the mesh.
func collectorEntry(host, protocol string, port int) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: collector-%d}
spec:
  hosts: [%s]
  ports: [{number: %d, name: %s, protocol: %s}]
  resolution: STATIC
  location: MESH_EXTERNAL
  endpoints: [{address: 127.0.0.1}]
`, port, host, port, protocol, strings.ToUpper(protocol))
}

// zipkin starts a real Zipkin (scripts/zipkin install) and returns its port; it ends with the test.
func zipkin(t *testing.T) int {
	t.Helper()
	jars, _ := filepath.Glob(filepath.Join(envoytest.Root(), ".cache", "zipkin", "*", "zipkin-server-*-exec.jar"))
	java, err := exec.LookPath("java")
	switch {
	case err != nil:
		envoytest.Missing(t, fmt.Errorf("find Java for Zipkin: %w", err))
	case len(jars) == 0:
		envoytest.Missing(t, errors.New("no Zipkin: run scripts/zipkin install"))
	}
	port := envoytest.FreePort(t)
	run(t, java, "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", jars[len(jars)-1],
		fmt.Sprintf("--armeria.ports[0].port=%d", port), "--armeria.ports[0].ip=127.0.0.1", "--armeria.ports[0].protocols[0]=http",
		"--zipkin.self-tracing.enabled=false")
	awaitHTTP(t, "Zipkin is healthy", port, "/health", http.StatusOK)
	return port
}

// run runs a program until the test ends.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() { // on a thread that lives as long as it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // killed
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-ended })
}

// awaitHTTP waits until a program answers on a port of this machine, with that status; 0: any.
func awaitHTTP(t *testing.T, what string, port int, path string, status int) {
	t.Helper()
	envoytest.Await(t, 2*time.Minute, what, func() bool {
		res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err != nil {
			return false
		}
		res.Body.Close()
		return status == 0 || res.StatusCode == status
	})
}
