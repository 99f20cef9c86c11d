// Command ratelimit is the proxy-wasm module that carries the ratelimit policy alone: mizzen-ratelimit.wasm.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/ratelimit"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM([]filter.Kind{ratelimit.Kind()})) }

func main() {}
