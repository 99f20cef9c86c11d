// Command mizzen is the Envoy dynamic module that carries every policy: libmizzen.so.
package main

import (
	"runtime/debug"

	sdk "github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go"
	_ "github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/abi"
	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/host/dynmod"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	debug.SetGCPercent(400) // the heap is a few MB: collect it less often
	f := dynmod.NewFactory(registry.Kinds())
	sdk.RegisterHttpFilterConfigFactories(map[string]shared.HttpFilterConfigFactory{dynmod.FilterName: f})
}

func main() {}
