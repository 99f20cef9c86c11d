// Command golangprobe is a contrib golang library for tests of the host: Mizzen's chain, preceded by a policy that
// does what a request's x-probe header asks for, panics included. It is never shipped.
package main

import (
	"github.com/envoyproxy/envoy/contrib/golang/filters/http/source/go/pkg/http"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest/probe"
	"github.com/mizzen-mesh/mizzen/filters/host/golang"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	p := golang.NewParser(append([]filter.Kind{probe.Kind()}, registry.Kinds()...))
	http.RegisterHttpFilterFactoryAndConfigParser(golang.PluginName, p.Factory, p)
	http.RegisterHttpFilterFactoryAndConfigParser("body", newBody, http.NullParser)
}

func main() {}
