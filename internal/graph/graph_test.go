package graph

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// envoy answers as an Envoy whose clusters have one endpoint each.
func envoy(w Workload, clusters ...string) Proxy {
	return Proxy{Workload: w, Get: func(_ context.Context, path string) ([]byte, error) {
		if !strings.HasPrefix(path, "/clusters") {
			return []byte(`{"stats":[{"histograms":[{"name":"cluster.one;.upstream_rq_time","buckets":[{"upper_bound":5,"interval":0,"cumulative":0},` +
				`{"upper_bound":10,"interval":0,"cumulative":6},{"upper_bound":25,"interval":0,"cumulative":4}]},` +
				`{"name":"cluster.one;.external.upstream_rq_time","buckets":[{"upper_bound":5,"interval":0,"cumulative":100}]}]},` +
				`{"name":"cluster.one;.ssl.handshake","value":2},{"name":"cluster.one;.upstream_cx_total","value":3},` +
				`{"name":"cluster.one;.upstream_cx_connect_fail","value":1},{"name":"cluster.one;.upstream_cx_http2_total","value":2}]}`), nil
		}
		return []byte(`{"cluster_statuses":[` + strings.Join(clusters, ",") + `]}`), nil
	}}
}

func hosts(name, stat, address string, total, success, errors int) string {
	return fmt.Sprintf(`{"name":%q,"observability_name":%q,"host_statuses":[{"address":{"socket_address":{"address":%q,"port_value":8080}},
		"stats":[{"name":"rq_total","value":"%d"},{"name":"rq_success","value":"%d"},{"name":"rq_error","value":"%d"},{"name":"cx_connect_fail"}]}]}`,
		name, stat, address, total, success, errors)
}

func clock(seconds int) func() time.Time {
	return func() time.Time { return time.Unix(int64(seconds), 0) }
}

var a = Workload{Name: "a-0", Namespace: "shop", Labels: map[string]string{"app": "a", "version": "v1"}, Addresses: []string{"10.0.0.1"}}

// TestRates: a rate and its errors are those between two looks; who is called is known by the address, else by the service's name.
func TestRates(t *testing.T) {
	workloads := []Workload{a, {Name: "b-0", Namespace: "shop", Labels: map[string]string{"app": "b"}, Addresses: []string{"fd00::1", "10.0.0.2"}}}
	look := func(seconds, total, failed int) Sample {
		s, silent := Look(t.Context(), []Proxy{envoy(a,
			hosts("outbound|80||b.shop.svc.cluster.local", "one;", "10.0.0.2", total, total-failed, failed),
			hosts("outbound|80|v2|c.shop.svc.cluster.local", "two;", "10.0.0.9", 1, 1, 0),
			hosts("outbound|443||api.example.com", "three;", "192.0.2.1", 1, 0, 0),
			hosts("PassthroughCluster", "PassthroughCluster;", "192.0.2.2", 7, 0, 0),
			hosts("inbound|8080||", "in;", "10.0.0.1", 5, 5, 0), hosts("xds-grpc", "xds", "10.0.0.3", 5, 5, 0),
		), {Workload: Workload{Name: "gone", Namespace: "shop"}, Get: func(context.Context, string) ([]byte, error) { return nil, errors.New("refused") }}}, clock(seconds))
		if len(silent) != 1 || !strings.Contains(silent[0].Error(), "gone.shop: refused") {
			t.Errorf("silent: %v", silent)
		}
		return s
	}
	g := Of(workloads, look(10, 40, 8), look(12, 50, 9))
	want := map[string]string{
		"shop/a@v1 > shop/b": "http 5.0 10% 50 9 all 9.2ms 23ms", "shop/a@v1 > shop/c@v2": "http 0.0 0% 1 0 none - -",
		"shop/a@v1 > api.example.com": "tcp 0.0 0% 1 0 none - -", "shop/a@v1 > 192.0.2.2:8080": "tcp 0.0 0% 7 0 none - -",
	}
	for _, e := range g.Edges {
		name := e.From + " > " + e.To
		if got := fmt.Sprintf("%s %.1f %.0f%% %d %d %s %s %s", e.Protocol, e.Rate, 100*e.Errors, e.Requests, e.Failed, e.TLS, timeText(e.P50), timeText(e.P95)); got != want[name] {
			t.Errorf("%s: %s, want %q", name, got, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 || g.Window != 2 {
		t.Errorf("no edges %v; window %v", want, g.Window)
	}
	if again := Of(workloads, look(10, 90, 9), look(12, 50, 9)); again.Edges[2].Rate != 0 {
		t.Errorf("an endpoint that began anew has rate %v", again.Edges[2].Rate)
	}
}

// timed is an Envoy that sent requests to one address of each cluster, and has one histogram for them; counts are by the bounds 1, 5, 10.
func timed(w Workload, clusters map[string][3]int) Proxy {
	var statuses, histograms []string
	for name, n := range clusters {
		statuses = append(statuses, hosts(name, name+";", "10.0.0.2", n[0]+n[1]+n[2], n[0]+n[1]+n[2], 0))
		histograms = append(histograms, fmt.Sprintf(`{"name":"cluster.%s;.upstream_rq_time","buckets":[{"upper_bound":1,"cumulative":%d},{"upper_bound":5,"cumulative":%d},{"upper_bound":10,"cumulative":%d}]}`,
			name, n[0], n[1], n[2]))
	}
	return Proxy{Workload: w, Get: func(_ context.Context, path string) ([]byte, error) {
		if strings.HasPrefix(path, "/clusters") {
			return []byte(`{"cluster_statuses":[` + strings.Join(statuses, ",") + `]}`), nil
		}
		return []byte(`{"stats":[{"histograms":[` + strings.Join(histograms, ",") + `]}]}`), nil
	}}
}

// TestTimes: an edge has the times of all clusters that lead along it: of the window, or of all where there was none in it.
func TestTimes(t *testing.T) {
	b := Workload{Name: "b-0", Namespace: "shop", Labels: map[string]string{"app": "b"}, Addresses: []string{"10.0.0.2"}}
	const one, two = "outbound|80||b.shop.svc.cluster.local", "outbound|80|v1|b.shop.svc.cluster.local"
	type counts = map[string][3]int
	for _, c := range []struct {
		name          string
		before, after counts // nil: there was no look
		p50, p95      float64
	}{
		{"one look", nil, counts{one: {10, 10, 0}}, 1, 4.6},
		{"the window", counts{one: {100, 0, 0}}, counts{one: {100, 0, 10}}, 7.5, 9.75},
		{"nothing in the window", counts{one: {0, 20, 0}}, counts{one: {0, 20, 0}}, 3, 4.8},
		{"two clusters", counts{}, counts{one: {10, 0, 0}, two: {0, 0, 10}}, 1, 9.5},
		{"a proxy that began anew", counts{one: {100, 100, 100}}, counts{one: {10, 0, 0}}, 0.5, 0.95},
	} {
		var looks [2]Sample
		for i, counts := range []counts{c.before, c.after} {
			if counts == nil {
				continue
			}
			looks[i], _ = Look(t.Context(), []Proxy{timed(a, counts)}, clock(10+i))
		}
		g := Of([]Workload{a, b}, looks[0], looks[1])
		if len(g.Edges) != 1 || math.Abs(g.Edges[0].P50-c.p50) > 1e-9 || math.Abs(g.Edges[0].P95-c.p95) > 1e-9 {
			t.Errorf("%s: %+v, want one edge with %v and %v", c.name, *g.Edges[0], c.p50, c.p95)
		}
	}
}

// TestLive: asked twice within a second, proxies are asked once; rates reach back a few seconds.
func TestLive(t *testing.T) {
	asked, at := 0, 0
	p := Proxy{Workload: a, Get: func(ctx context.Context, path string) ([]byte, error) {
		asked++
		return envoy(a, hosts("outbound|80||b.shop.svc.cluster.local", "one;", "10.0.0.2", 10*at, 10*at, 0)).Get(ctx, path)
	}}
	l := &Live{Proxies: func() []Proxy { return []Proxy{p} }, Workloads: func() []Workload { return []Workload{a} }, Now: func() time.Time { return time.Unix(int64(at), 0) }}
	for _, x := range []struct {
		at, asked int
		rate      float64
	}{{100, 3, 0}, {100, 3, 0}, {103, 6, 10}, {130, 9, 0}} {
		at = x.at
		g, _ := l.Graph(t.Context())
		if asked != x.asked || g.Edges[0].Rate != x.rate {
			t.Errorf("at %d: asked %d times, rate %v; want %+v", x.at, asked, g.Edges[0].Rate, x)
		}
	}
}

// chain makes a graph of edges "a>b".
func chain(edges ...string) Graph {
	g := Graph{}
	known := map[string]bool{}
	for _, e := range edges {
		from, to, _ := strings.Cut(e, ">")
		for _, id := range []string{from, to} {
			if !known[id] {
				known[id] = true
				g.Nodes = append(g.Nodes, &Node{ID: id, Name: id})
			}
		}
		g.Edges = append(g.Edges, &Edge{From: from, To: to, Protocol: "http", Requests: 1, TLS: TLSNone})
	}
	return g
}

// TestArrange: calls lead to the right, whatever cycles there are, and edges over several columns have a place in each.
func TestArrange(t *testing.T) {
	l := arrange(chain("gw>a", "a>b", "b>c", "a>c", "c>a", "b>b", "x>y", "y>x"))
	column := map[string]int{}
	for i, c := range l.columns {
		for _, id := range c {
			if _, ok := column[id]; ok {
				t.Errorf("%q stands twice", id)
			}
			column[id] = i
		}
	}
	for id, want := range map[string]int{"gw": 0, "a": 1, "b": 2, "c": 3, "x": 0, "y": 1} {
		if column[id] != want {
			t.Errorf("%s in column %d, want %d", id, column[id], want)
		}
	}
	if p := l.paths[3]; len(p) != 3 || column[p[1]] != 2 {
		t.Errorf("a to c leads through %q", p)
	}
}

// TestForms: names that mean something to DOT or XML are quoted; what is written is well-formed, also of nothing.
func TestForms(t *testing.T) {
	for _, g := range []Graph{{}, chain(`a"<&>b`, "b>c", "c>c"), chain("c>b", "b>a", "a>c")} {
		var svg, dot, table bytes.Buffer
		if err := errors.Join(g.SVG(&svg), g.DOT(&dot), g.Table(&table)); err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(&svg)
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("SVG: %v\n%s", err, svg.String())
			}
		}
		if len(g.Nodes) > 0 && strings.Contains(g.Nodes[0].Name, `"`) && !strings.Contains(dot.String(), `"a\"<&" -> "b"`) {
			t.Errorf("DOT:\n%s", dot.String())
		}
	}
}
