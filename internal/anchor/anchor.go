// Package anchor keeps requirements in go.mod while the house is being built. Removed before the first release.
package anchor

import (
	_ "github.com/envoyproxy/envoy/contrib/golang/common/go/api"
	_ "github.com/envoyproxy/envoy/contrib/golang/filters/http/source/go/pkg/http"
	_ "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	_ "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/tetratelabs/wazero"
	_ "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)
