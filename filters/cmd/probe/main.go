// Command probe is a dynamic module for tests of the host: Mizzen's chain, preceded by a policy that does what a
// request's x-probe header asks for, panics included. It is never shipped.
package main

import (
	"C" // a c-shared main needs it

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest/probe"
	"github.com/mizzen-mesh/mizzen/filters/host/dynmod"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	dynmod.Serve(append([]filter.Kind{probe.Kind()}, registry.Kinds()...))
}

func main() {}
