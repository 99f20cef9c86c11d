// Command golangexample is a plugin for contrib Envoy's golang filter, as anybody would write it: it greets in a response
// header.
package main

import (
	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"
	"github.com/envoyproxy/envoy/contrib/golang/filters/http/source/go/pkg/http"
)

func init() { http.RegisterHttpFilterFactoryAndConfigParser("hello", newFilter, http.NullParser) }

func main() {}

type filter struct{ api.PassThroughStreamFilter }

func newFilter(any, api.FilterCallbackHandler) api.StreamFilter { return &filter{} }

// EncodeHeaders greets.
func (f *filter) EncodeHeaders(h api.ResponseHeaderMap, _ bool) api.StatusType {
	h.Set("x-hello", "world")
	return api.Continue
}
