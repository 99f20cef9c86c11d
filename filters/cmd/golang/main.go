// Command golang is the shared library that carries every policy for a contrib Envoy's golang filter:
// libmizzen-golang.so.
package main

import (
	"github.com/envoyproxy/envoy/contrib/golang/filters/http/source/go/pkg/http"

	"github.com/mizzen-mesh/mizzen/filters/host/golang"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	p := golang.NewParser(registry.Kinds())
	http.RegisterHttpFilterFactoryAndConfigParser(golang.PluginName, p.Factory, p)
}

func main() {}
