// Command mizzen is the proxy-wasm module that carries every policy: mizzen.wasm.
package main

import (
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

	"github.com/mizzen-mesh/mizzen/filters/registry"
	"github.com/mizzen-mesh/mizzen/wasm/host"
)

func init() { proxywasm.SetVMContext(host.NewVM(registry.Kinds())) }

func main() {}
