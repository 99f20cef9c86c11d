package telemetry

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// series is one line of Prometheus' text format.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

var line = regexp.MustCompile(`(?m)^(\w+)\{(.*)\} ([0-9.e+]+)$`)
var pair = regexp.MustCompile(`(\w+)="([^"]*)"`)

// scrape reads a workload's metrics of one name.
func scrape(t *testing.T, m *meshtest.Mesh, workload, name string) []series {
	t.Helper()
	admin := ""
	for _, w := range m.Ready.Workloads {
		if w.Name == workload {
			admin = w.Admin
		}
	}
	res, err := http.Get("http://" + admin + "/stats/prometheus?filter=istio_")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out []series
	for _, l := range line.FindAllStringSubmatch(string(page), -1) {
		if l[1] != "envoy_"+name {
			continue
		}
		s := series{name: l[1], labels: map[string]string{}}
		for _, p := range pair.FindAllStringSubmatch(l[2], -1) {
			s.labels[p[1]] = p[2]
		}
		fmt.Sscan(l[3], &s.value)
		out = append(out, s)
	}
	return out
}

// sum adds up the series that have these labels.
func sum(all []series, labels map[string]string) (total float64) {
	for _, s := range all {
		ok := true
		for k, v := range labels {
			ok = ok && s.labels[k] == v
		}
		if ok {
			total += s.value
		}
	}
	return total
}

// istioLabels are those of Istio's metrics of requests.
func istioLabels() []string {
	out := []string{"reporter", "request_protocol", "response_code", "grpc_response_status", "response_flags", "connection_security_policy",
		"destination_service", "destination_service_name", "destination_service_namespace"}
	for _, side := range []string{"source_", "destination_"} {
		for _, l := range []string{"workload", "workload_namespace", "principal", "app", "version", "canonical_service", "canonical_revision", "cluster"} {
			out = append(out, side+l)
		}
	}
	slices.Sort(out)
	return out
}

// TestMetrics: both sides count requests under Istio's labels, and connections; a Telemetry adds a label, removes one, and switches a
// metric off.
func TestMetrics(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	m.Apply(t, meshConfig(`
    defaultProviders: {metrics: [prometheus]}
`))
	call := func() bool { return c.Must(t, api+"counted").Code == 200 }
	client := map[string]string{"reporter": "source", "source_workload": "front", "source_version": "v1", "destination_workload": "api",
		"destination_workload_namespace": "default", "destination_canonical_service": "api", "destination_version": "v2",
		"destination_service": "api.default.svc.cluster.local", "destination_service_name": "api", "destination_service_namespace": "default",
		"request_protocol": "http", "response_code": "200", "response_flags": "-"}
	server := map[string]string{"reporter": "destination", "destination_workload": "api", "destination_version": "v2", "source_workload": "unknown",
		"destination_service_name": "api", "response_code": "200"}
	for _, name := range []string{"istio_requests_total", "istio_request_duration_milliseconds_count", "istio_request_bytes_count", "istio_response_bytes_count"} {
		meshtest.Eventually(t, name, func() bool {
			return call() && sum(scrape(t, m, "front-0", name), client) > 0 && sum(scrape(t, m, "api-0", name), server) > 0
		})
	}
	for _, w := range []string{"front-0", "api-0"} {
		for _, s := range scrape(t, m, w, "istio_requests_total") {
			if got := slices.Sorted(maps.Keys(s.labels)); !slices.Equal(got, istioLabels()) {
				t.Errorf("%s: labels %v, want %v", w, got, istioLabels())
			}
			for k, v := range s.labels {
				if v == "" && k != "grpc_response_status" {
					t.Errorf("%s: label %s is empty in %v", w, k, s.labels)
				}
			}
		}
	}
	tcp := map[string]string{"reporter": "source", "request_protocol": "tcp", "destination_workload": "api"}
	meshtest.Eventually(t, "connections", func() bool {
		raw(t, m, "front-0", 7000)
		return sum(scrape(t, m, "front-0", "istio_tcp_connections_closed_total"), tcp) > 0 && sum(scrape(t, m, "front-0", "istio_tcp_sent_bytes_total"), tcp) > 0
	})

	m.Apply(t, telemetry("changed", "default", `{metrics: [{overrides: [
  {match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {path: {value: "request.url_path == '/counted' ? 'here' : 'elsewhere'"}, where: {value: "request.method + '@' + request.host"}, source_cluster: {operation: REMOVE}}},
  {match: {metric: REQUEST_SIZE}, disabled: true}]}]}`))
	meshtest.Eventually(t, "a label of one's own", func() bool {
		if !call() {
			return false
		}
		return slices.ContainsFunc(scrape(t, m, "front-0", "istio_requests_total"), func(s series) bool {
			_, kept := s.labels["source_cluster"]
			return s.labels["path"] == "here" && s.labels["where"] == "GET@api:8000" && !kept
		})
	})
	meshtest.Eventually(t, "a metric that is off stays as it was", func() bool {
		before, after := sum(scrape(t, m, "front-0", "istio_request_bytes_count"), nil), sum(scrape(t, m, "front-0", "istio_response_bytes_count"), nil)
		return call() && sum(scrape(t, m, "front-0", "istio_request_bytes_count"), nil) == before &&
			sum(scrape(t, m, "front-0", "istio_response_bytes_count"), nil) > after
	})
}
