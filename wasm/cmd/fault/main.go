// Command fault is the proxy-wasm module that carries the fault policy alone: mizzen-fault.wasm.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM([]filter.Kind{fault.Kind()})) }

func main() {}
