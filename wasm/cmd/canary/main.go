// Command canary is the proxy-wasm module that carries the canary policy alone: mizzen-canary.wasm.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM([]filter.Kind{canary.Kind()})) }

func main() {}
