// Command tracing is the proxy-wasm module that carries the tracing policy alone: mizzen-tracing.wasm.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/tracing"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM([]filter.Kind{tracing.Kind()})) }

func main() {}
