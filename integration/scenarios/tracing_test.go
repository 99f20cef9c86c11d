package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/integration/spantest"
)

// Row 17: Telemetry chooses who makes the spans, and they arrive in a real Zipkin as one trace over all hops.
func TestTelemetry(t *testing.T) {
	z := spantest.StartZipkin(t)
	m := shared.Mesh(t)
	t.Run("who makes the spans", func(t *testing.T) { tracers(t, m, z) })
	t.Run("by workload", func(t *testing.T) { tracingByWorkload(t, m, z) })
}

func tracers(t *testing.T, m *meshtest.Mesh, z *spantest.Zipkin) {
	m.Apply(t, collectorEntry("zipkin.example", "http", z.Port))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: zipkin
      zipkin: {service: zipkin.example, port: %d}
    defaultProviders: {tracing: [zipkin]}
`, z.Port)))
	for _, c := range []struct{ tracer, tag, want string }{
		{"mizzen", "mizzen.route", "default"}, // only Mizzen's spans have its route
		{"envoy", "upstream_cluster.name", "outbound|9080||reviews.default.svc.cluster.local;"},
	} {
		t.Run(c.tracer, func(t *testing.T) {
			m.Apply(t, telemetry("everywhere", "istio-system", c.tracer, "  - randomSamplingPercentage: 100\n"))
			spans := traced(t, m, z, []string{"CLIENT productpage.default", "SERVER reviews.default", "CLIENT reviews.default", "SERVER ratings.default"}, func(s map[string]spantest.ZipkinSpan) bool {
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
func tracingByWorkload(t *testing.T, m *meshtest.Mesh, z *spantest.Zipkin) {
	m.Apply(t, collectorEntry("zipkin.example", "http", z.Port))
	m.Apply(t, meshConfig(fmt.Sprintf(`
    extensionProviders:
    - name: zipkin
      zipkin: {service: zipkin.example, port: %d}
`, z.Port)))
	m.Apply(t, telemetry("own", "default", "", "  - providers: [{name: zipkin}]\n")+"---\n"+
		telemetry("reviews", "default", "", `  - match: {mode: CLIENT}
    disableSpanReporting: true
  - match: {mode: SERVER}
    customTags: {team: {literal: {value: blue}}, who: {header: {name: x-who, defaultValue: nobody}}}
  selector: {matchLabels: {app: reviews}}
`))
	spans := traced(t, m, z, []string{"CLIENT productpage.default", "SERVER reviews.default", "SERVER ratings.default"}, func(s map[string]spantest.ZipkinSpan) bool {
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
func traced(t *testing.T, m *meshtest.Mesh, z *spantest.Zipkin, want []string, settled func(map[string]spantest.ZipkinSpan) bool) map[string]spantest.ZipkinSpan {
	t.Helper()
	return oneTrace(t, func(id string) {
		a := m.From(t, "productpage-v1-0").Must(t, reviews, "x-b3-traceid: "+id, "x-b3-spanid: "+callerSpan, "x-b3-sampled: 1", "x-who: me")
		if a.Code != 200 {
			t.Fatalf("got %d %q", a.Code, a.Body)
		}
	}, func(id string) map[string]spantest.ZipkinSpan { return z.Spans(t, id) }, func(got map[string]spantest.ZipkinSpan) bool {
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

func hasAll(spans map[string]spantest.ZipkinSpan, want []string) bool {
	for _, k := range want {
		if spans[k].ID == "" {
			return false
		}
	}
	return true
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
