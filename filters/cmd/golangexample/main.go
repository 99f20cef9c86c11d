// Command golangexample is a plugin for contrib Envoy's golang filter, as anybody would write it: it greets in a response header.
package main

import (
	"github.com/envoyproxy/envoy/contrib/golang/common/go/api"
	"github.com/envoyproxy/envoy/contrib/golang/filters/http/source/go/pkg/http"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func init() { http.RegisterHttpFilterFactoryAndConfigParser("hello", newFilter, parser{}) }

func main() {}

// parser reads a StringValue, the greeting.
type parser struct{}

// Parse implements api.StreamFilterConfigParser.
func (parser) Parse(in *anypb.Any, _ api.ConfigCallbackHandler) (any, error) {
	var s wrapperspb.StringValue
	if err := in.UnmarshalTo(&s); err != nil {
		return nil, err
	}
	return s.GetValue(), nil
}

// Merge implements api.StreamFilterConfigParser: the route's greeting is used.
func (parser) Merge(_, child any) any { return child }

type filter struct {
	api.PassThroughStreamFilter
	greeting string
}

func newFilter(config any, _ api.FilterCallbackHandler) api.StreamFilter {
	return &filter{greeting: config.(string)}
}

// EncodeHeaders greets.
func (f *filter) EncodeHeaders(h api.ResponseHeaderMap, _ bool) api.StatusType {
	h.Set("x-hello", f.greeting)
	return api.Continue
}
