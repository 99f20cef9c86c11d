package tracing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
	"github.com/mizzen-mesh/mizzen/integration/spantest"
)

// hop is an Envoy as one sidecar: a listener with the whole chain in front of one cluster.
type hop struct {
	service, kind, protocol string
	config                  string // more of the filter's configuration, beginning with ","
	to, collector           int    // ports
	module                  func(config string) static.Obj
	workers                 int
	http2                   bool // towards to
}

func (h hop) start(t *testing.T) *envoytest.Envoy {
	t.Helper()
	config := fmt.Sprintf(`{"tracing":{"export":{"protocol":%q,"cluster":"collector","service":%q,"kind":%q,"interval":"0.2s"}}%s}`,
		h.protocol, h.service, h.kind, h.config)
	module := h.module
	if module == nil {
		module = func(config string) static.Obj { return static.ModuleFilter("mizzen", "mizzen", "mizzen", config) }
	}
	bootstrap := static.Bootstrap(map[string]int{"next": h.to, "collector": h.collector}, static.Listener{
		Name: "test", Port: 10000, Filters: static.List{module(config)},
		Routes: static.List{static.Route("everything", "/", "next", nil)},
	})
	if h.http2 {
		bootstrap = strings.Replace(bootstrap, `"name":"next"`, `"name":"next",`+speakHTTP2, 1)
	}
	return envoytest.Start(t, envoytest.Options{Concurrency: h.workers, Config: bootstrap})
}

// speakHTTP2 is part of a cluster.
const speakHTTP2 = `"typed_extension_protocol_options":{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions":{` +
	`"@type":"type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions","explicit_http_config":{"http2_protocol_options":{}}}}`

// port is that of a listener of an Envoy, for another Envoy's cluster.
func port(t *testing.T, e *envoytest.Envoy) int {
	t.Helper()
	var p int
	addr := e.Addr(10000)
	if _, err := fmt.Sscanf(addr[strings.LastIndexByte(addr, ':')+1:], "%d", &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// chain is two hops as a mesh has them: the caller's sidecar, then that of the service, which delays and limits.
func chain(t *testing.T, protocol string, collector int) *envoytest.Envoy {
	t.Helper()
	app := envoytest.NewUpstream(t, "reviews")
	inbound := hop{service: "reviews", kind: "server", protocol: protocol, to: app.Port, collector: collector,
		config: `,"fault":{"rules":[{"name":"slow","delay":{"percentage":100,"fixed":"30ms"}}]},` +
			`"ratelimit":{"limits":[{"name":"tiny","match":[{"path":{"prefix":"/tiny"}}],"requests":1,"per":"1h"}]}`}.start(t)
	return hop{service: "productpage", kind: "client", protocol: protocol, to: port(t, inbound), collector: collector}.start(t)
}

const (
	traceID = "463ac35c9f6413ad48485a3953bb6124"
	caller  = "a2fb4a1d1a96d312"
)

func TestZipkin(t *testing.T) {
	z := spantest.StartZipkin(t)
	out := chain(t, "zipkin", z.Port)
	before := time.Now()
	a := out.Get(t, 10000, "/reviews/1?secret=x", "traceparent: 00-"+traceID+"-"+caller+"-01", "host: reviews:9080", "user-agent: test")
	if a.Status != 200 {
		t.Fatalf("%+v", a)
	}
	var spans map[string]spantest.ZipkinSpan
	envoytest.Await(t, 30*time.Second, "2 spans in Zipkin", func() bool {
		spans = z.Spans(t, traceID)
		return len(spans) == 2
	})
	client, server := spans["CLIENT productpage"], spans["SERVER reviews"]
	if client.ParentID != caller || server.ParentID != client.ID || a.Echo().Headers["x-b3-spanid"] != server.ID {
		t.Errorf("the chain is broken: caller %s, client %+v, server %+v, application %v", caller, client, server, a.Echo().Headers)
	}
	if client.Name != "get everything" || server.Name != "get everything" || client.RemoteEndpoint.Port == 0 {
		t.Errorf("client %+v, server %+v", client, server)
	}
	for _, s := range []spantest.ZipkinSpan{client, server} {
		if s.Tags["http.request.method"] != "GET" || s.Tags["url.path"] != "/reviews/1" || s.Tags["server.address"] != "reviews" ||
			s.Tags["server.port"] != "9080" || s.Tags["http.response.status_code"] != "200" || s.Tags["upstream_cluster"] != "next" ||
			s.Tags["error"] != "" || s.Tags["user_agent.original"] != "test" || s.Tags["mizzen.route"] != "everything" {
			t.Errorf("tags %v", s.Tags)
		}
		if s.Duration < 30_000 || s.Timestamp < before.UnixMicro() || s.Timestamp > time.Now().UnixMicro() {
			t.Errorf("began at %d, took %d us; the request began at %d", s.Timestamp, s.Duration, before.UnixMicro())
		}
	}
	if server.Tags["mizzen.fault"] != "slow: delay 30ms" || server.Tags["mizzen.flags"] != "DI" || server.RemoteEndpoint.IPv4 != "127.0.0.1" {
		t.Errorf("the server span does not tell the delay: %v", server.Tags)
	}
}

func TestCollector(t *testing.T) {
	c := spantest.StartCollector(t)
	out := chain(t, "otlp-http", c.HTTP)
	for i, path := range []string{"/reviews/1", "/tiny", "/tiny"} {
		id := fmt.Sprintf("%032x", i+1)
		out.Get(t, 10000, path, "b3: "+id+"-"+caller+"-1", "host: reviews:9080")
	}
	envoytest.Await(t, 30*time.Second, "3 traces of 2 spans in the collector", func() bool {
		got := c.Spans(t)
		return len(got) == 3 && len(got[fmt.Sprintf("%032x", 1)]) == 2 && len(got[fmt.Sprintf("%032x", 3)]) == 2
	})
	byKind := func(i int) (client, server spantest.OTelSpan) {
		for _, s := range c.Spans(t)[fmt.Sprintf("%032x", i)] {
			if s.Kind == 3 {
				client = s
			} else {
				server = s
			}
		}
		return client, server
	}
	client, server := byKind(1)
	if client.ParentSpanID != caller || server.ParentSpanID != client.SpanID || client.Service != "productpage" || server.Service != "reviews" || server.Kind != 2 {
		t.Errorf("client %+v, server %+v", client, server)
	}
	if server.Attribute("http.response.status_code") != "200" || server.Attribute("mizzen.fault") != "slow: delay 30ms" ||
		server.Attribute("url.path") != "/reviews/1" || server.Name != "GET everything" || client.Attribute("network.peer.address") != "127.0.0.1" {
		t.Errorf("server %+v, client %+v", server, client)
	}
	client, server = byKind(3)
	if server.Attribute("http.response.status_code") != "429" || server.Attribute("mizzen.ratelimit") != "tiny" || server.Status.Code != 0 {
		t.Errorf("the limited request's server span is %+v", server)
	}
	if client.Status.Code != 2 || client.Attribute("error.type") != "429" {
		t.Errorf("the limited request's client span is no error: %+v", client)
	}
}

// TestCollectorRestarts: the application notices nothing, and spans come again.
func TestCollectorRestarts(t *testing.T) {
	c := spantest.StartCollector(t)
	app := envoytest.NewUpstream(t, "app")
	e := hop{service: "app", kind: "server", protocol: "otlp-http", to: app.Port, collector: c.HTTP}.start(t)
	ask := func(n int) {
		if a := e.Get(t, 10000, "/", fmt.Sprintf("b3: %032x-%s-1", n, caller)); a.Status != 200 {
			t.Fatalf("request %d: %+v", n, a)
		}
	}
	come := func(n int) {
		envoytest.Await(t, 30*time.Second, fmt.Sprintf("trace %d", n), func() bool { return len(c.Spans(t)[fmt.Sprintf("%032x", n)]) == 1 })
	}
	ask(1)
	come(1)
	c.Kill()
	ask(2)
	envoytest.Await(t, 30*time.Second, "a call has failed", func() bool {
		ask(3) // what is counted is told with a request
		for name, n := range e.Stats(t, "trace_batches") {
			if strings.Contains(name, "retry") && n > 0 {
				return true
			}
		}
		return false
	})
	c.Run(t)
	ask(4)
	come(4)
	come(2) // it was kept
}
