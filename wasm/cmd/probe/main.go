// Command probe is a proxy-wasm module whose only policy does what a request header tells it: tests of the host use it.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest/probe"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM([]filter.Kind{probe.Kind()})) }

func main() {}
