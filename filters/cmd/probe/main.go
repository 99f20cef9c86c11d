// Command probe is a dynamic module for tests of the host: Mizzen's chain, preceded by a policy that does what a
// request's x-probe header asks for, panics included. It is never shipped.
package main

import (
	sdk "github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go"
	_ "github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/abi"
	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/host/dynmod"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	kinds := append([]filter.Kind{kind()}, registry.Kinds()...)
	sdk.RegisterHttpFilterConfigFactories(map[string]shared.HttpFilterConfigFactory{
		dynmod.FilterName: dynmod.NewFactory(kinds),
	})
}

func main() {}
