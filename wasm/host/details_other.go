//go:build !wasip1

package host

import "github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"

// sendLocalResponse is for the SDK's emulator, which knows no details.
func sendLocalResponse(status uint32, _ string, headers [][2]string, body string, grpcStatus int32) error {
	return proxywasm.SendHttpResponse(status, headers, []byte(body), grpcStatus)
}
