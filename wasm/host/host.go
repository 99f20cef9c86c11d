package host

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// The methods of filter.Host.

// RouteName reads the name of the selected route.
func (s *stream) RouteName() string { return property("xds", "route_name") }

// SourceAddress reads the trusted client address, which Envoy gives with its port.
func (s *stream) SourceAddress() string {
	text := property("source", "address")
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().String()
	}
	return strings.TrimSuffix(text, ":0") // a pipe or an internal listener
}

// Attribute implements filter.Attributes. Envoy gives numbers as 8 bytes.
func (s *stream) Attribute(a filter.Attribute) string {
	text := property(strings.Split(string(a), ".")...)
	switch a {
	case filter.ResponseCode, filter.GRPCStatus:
		if len(text) != 8 {
			return ""
		}
		return strconv.FormatUint(binary.LittleEndian.Uint64([]byte(text)), 10)
	}
	return text
}

// Count moves a metric.
func (s *stream) Count(m *filter.Metric, n int64, labels ...string) {
	s.plugin.metrics.count(m, n, labels)
}

// Annotate writes filter state, for access logs: %FILTER_STATE(wasm.mizzen.<key>:PLAIN)%. A wasm filter cannot write
// dynamic metadata.
func (s *stream) Annotate(key, value string) {
	if value == "" {
		return // the ABI takes no empty value
	}
	if err := proxywasm.SetProperty([]string{Namespace + "." + key}, []byte(value)); err != nil {
		proxywasm.LogErrorf("mizzen: annotate %s: %v", key, err)
	}
}

// Flag annotates: a wasm filter cannot add an access-log flag. %FILTER_STATE(wasm.mizzen.flags:PLAIN)% has them all, "DI,FI".
func (s *stream) Flag(code string) {
	if s.flags != "" {
		code = s.flags + "," + code
	}
	s.flags = code
	s.Annotate("flags", code)
}

// route is the program of the request's route, or else of its virtual host; nil if neither has one.
//
// Envoy shows a wasm filter the metadata of the route that was selected when the filter was called, even after the
// route cache was cleared. So what a route chosen by canary says comes first from the key "config.<token>" of the
// route, or virtual host, that the request had before, where token is the value of x-mizzen-route.
func (s *stream) route() (*filter.Program, error) {
	if s.rerouted {
		if token := s.request.Value(canary.RouteHeader); token != "" {
			if text := metadata(ConfigKey + "." + token); len(text) > 0 {
				return s.plugin.programs.get(text)
			}
		}
	}
	if text := metadata(ConfigKey); len(text) > 0 {
		return s.plugin.programs.get(text)
	}
	return nil, nil
}

// metadata reads one key of ours from the most specific level that has it.
func metadata(key string) []byte {
	for _, level := range [...]string{"route_metadata", "virtual_host_metadata"} {
		text, err := proxywasm.GetProperty([]string{"xds", level, "filter_metadata", Namespace, key})
		if err == nil && len(text) > 0 {
			return text
		}
	}
	return nil
}

// clearRouteCache makes Envoy select the route anew. Editing a request header does so too, unless Envoy was told not to.
func clearRouteCache() { _, _ = proxywasm.CallForeignFunction("clear_route_cache", nil) }

// property reads an attribute as text, "" if there is none.
func property(path ...string) string {
	b, err := proxywasm.GetProperty(path)
	if err != nil {
		return ""
	}
	return string(b)
}
