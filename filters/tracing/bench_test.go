package tracing

import (
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

func browser(more ...filter.Header) []filter.Header {
	return append([]filter.Header{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "shop.test"},
		{Name: ":path", Value: "/a"}, {Name: "accept", Value: "*/*"}, {Name: "accept-encoding", Value: "gzip"},
		{Name: "user-agent", Value: "bench"}, {Name: "cookie", Value: "a=b"}, {Name: "x-forwarded-for", Value: "10.0.0.1"},
		{Name: "x-forwarded-proto", Value: "http"}, {Name: "x-envoy-internal", Value: "true"},
		{Name: "x-request-id", Value: "3b6f9c3e-2c3f-4d3c-9a39-0f4d2b9e9c11"},
	}, more...)
}

func BenchmarkRequest(b *testing.B) {
	for _, c := range []struct {
		name    string
		inject  []Format
		headers []filter.Header
	}{
		{"new", nil, browser()},
		{"w3c and b3multi", nil, browser(
			filter.Header{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
			filter.Header{Name: "x-b3-traceid", Value: "4bf92f3577b34da6a3ce929d0e0e4736"},
			filter.Header{Name: "x-b3-spanid", Value: "00f067aa0ba902b7"},
			filter.Header{Name: "x-b3-sampled", Value: "1"})},
		{"all formats", formats(), browser(
			filter.Header{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := New(Config{Inject: c.inject}, filtertest.Env())
			if err != nil {
				b.Fatal(err)
			}
			entries := make([]filter.Header, len(c.headers), len(c.headers)+16)
			x := &filter.Exchange{Request: filter.NewHeaders(nil), Now: time.Unix(1, 0), Rand: filtertest.Rand(1), Host: filtertest.QuietHost{}}
			b.ReportAllocs()
			for b.Loop() {
				copy(entries, c.headers)
				x.Request.Reset(entries)
				p.Request(x)
			}
		})
	}
}

// BenchmarkExport is a sampled exchange from its request to its span in the queue, against the same without an exporter.
func BenchmarkExport(b *testing.B) {
	for _, protocol := range []string{"", OTLP, Zipkin} {
		b.Run("protocol="+protocol, func(b *testing.B) {
			c := Config{}
			if protocol != "" {
				c.Export = &Export{Protocol: protocol, Cluster: "c", Service: "shop", Kind: Server}
			}
			policy, err := New(c, filtertest.Env())
			if err != nil {
				b.Fatal(err)
			}
			base, headers := filtertest.Single("tracing", policy), browser()
			entries, answer := make([]filter.Header, 0, 32), []filter.Header{{Name: ":status", Value: "200"}}
			run, request, response := &filter.Run{}, &filter.Headers{}, &filter.Headers{}
			b.ReportAllocs()
			for b.Loop() {
				run.Reset()
				request.Reset(append(entries[:0], headers...))
				response.Reset(answer)
				run.Exchange = filter.Exchange{Request: request, Response: response, Now: time.Unix(1, 0), Rand: filtertest.Rand(1), Host: filtertest.QuietHost{}}
				run.Request(base, nil)
				if !run.Over() {
					run.Response(base)
					run.End(base)
				}
				if p := policy.(*Policy); p.exporter != nil && len(p.exporter.queue) > 1000 {
					p.exporter.queue, p.exporter.bytes = p.exporter.queue[:0], 0
				}
			}
		})
	}
}
