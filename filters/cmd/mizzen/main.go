// Command mizzen is the Envoy dynamic module that carries every policy: libmizzen.so.
package main

import (
	"C" // a c-shared main needs it
	"runtime/debug"

	"github.com/mizzen-mesh/mizzen/filters/host/dynmod"
	"github.com/mizzen-mesh/mizzen/filters/registry"
)

func init() {
	debug.SetGCPercent(400) // the heap is a few MB: collect it less often
	dynmod.Serve(registry.Kinds())
}

func main() {}
