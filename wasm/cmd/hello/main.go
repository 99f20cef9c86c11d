// Command hello is a small proxy-wasm module to learn from, and what package wasmtest tests itself with. It greets,
// makes impatient clients wait, asks a cluster who the caller is, and shouts bodies.
package main

import (
	"bytes"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func init() {
	proxywasm.SetPluginContext(func(uint32) types.PluginContext { return &plugin{} })
}

func main() {}

type plugin struct {
	types.DefaultPluginContext
	greeting string
	requests proxywasm.MetricCounter
	waiting  []uint32
}

// OnPluginStart takes the configuration for a greeting.
func (p *plugin) OnPluginStart(int) types.OnPluginStartStatus {
	b, err := proxywasm.GetPluginConfiguration()
	if err != nil {
		proxywasm.LogCritical("no greeting configured")
		return types.OnPluginStartStatusFailed
	}
	p.greeting, p.requests = string(b), proxywasm.DefineCounterMetric("hello_requests")
	return types.OnPluginStartStatusOK
}

// NewHttpContext begins a stream.
func (p *plugin) NewHttpContext(id uint32) types.HttpContext { return &stream{plugin: p, id: id} }

// OnTick lets those go who have waited.
func (p *plugin) OnTick() {
	for _, id := range p.waiting {
		if proxywasm.SetEffectiveContext(id) == nil {
			_ = proxywasm.ResumeHttpRequest()
		}
	}
	p.waiting = nil
	_ = proxywasm.SetTickPeriodMilliSeconds(0)
}

type stream struct {
	types.DefaultHttpContext
	plugin *plugin
	id     uint32
}

// OnHttpRequestHeaders acts on the header x-hello.
func (s *stream) OnHttpRequestHeaders(int, bool) types.Action {
	s.plugin.requests.Increment(1)
	what, _ := proxywasm.GetHttpRequestHeader("x-hello")
	switch what {
	case "reply":
		_ = proxywasm.SendHttpResponse(403, [][2]string{{"x-greeting", s.plugin.greeting}}, []byte("no\n"), -1)
		return types.ActionPause
	case "wait":
		s.plugin.waiting = append(s.plugin.waiting, s.id)
		_ = proxywasm.SetTickPeriodMilliSeconds(100)
		return types.ActionPause
	case "ask":
		headers := [][2]string{{":method", "GET"}, {":path", "/who"}, {":authority", "people"}}
		if _, err := proxywasm.DispatchHttpCall("people", headers, nil, nil, 500, s.told); err != nil {
			return types.ActionContinue
		}
		return types.ActionPause
	case "panic":
		panic("as asked")
	}
	user, _ := proxywasm.GetProperty([]string{"connection", "id"})
	_ = proxywasm.AddHttpRequestHeader("x-greeting", s.plugin.greeting+" "+string(user))
	_ = proxywasm.RemoveHttpRequestHeader("x-gone")
	_ = proxywasm.ReplaceHttpRequestHeader("x-twice", "once")
	return types.ActionContinue
}

func (s *stream) told(headers, size, _ int) {
	who := "nobody"
	if headers > 0 {
		body, _ := proxywasm.GetHttpCallResponseBody(0, size)
		who = string(body)
	}
	_ = proxywasm.AddHttpRequestHeader("x-who", who)
	_ = proxywasm.SetProperty([]string{"hello", "who"}, []byte(who))
	_ = proxywasm.ResumeHttpRequest()
}

// OnHttpResponseHeaders signs responses.
func (s *stream) OnHttpResponseHeaders(int, bool) types.Action {
	_ = proxywasm.AddHttpResponseHeader("x-signed", "hello")
	_ = proxywasm.RemoveHttpResponseHeader("content-length")
	return types.ActionContinue
}

// OnHttpResponseBody collects the whole body and shouts it.
func (s *stream) OnHttpResponseBody(size int, end bool) types.Action {
	if !end {
		return types.ActionPause
	}
	if body, err := proxywasm.GetHttpResponseBody(0, size); err == nil {
		_ = proxywasm.ReplaceHttpResponseBody(bytes.ToUpper(body))
	}
	return types.ActionContinue
}

// OnHttpStreamDone says goodbye.
func (s *stream) OnHttpStreamDone() { proxywasm.LogInfo("goodbye") }
