//go:build wasip1

package host

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// The SDK's SendHttpResponse leaves the response code details out, so the import is declared here once more.
//
//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details *byte, detailsSize int32, body *byte, bodySize int32,
	headers *byte, headersSize int32, grpcStatus int32) uint32

// sendLocalResponse asks Envoy for a local reply. grpcStatus -1: none.
func sendLocalResponse(status uint32, details string, headers [][2]string, body string, grpcStatus int32) error {
	pairs := encodePairs(headers)
	if st := proxySendLocalResponse(status, unsafe.StringData(details), int32(len(details)),
		unsafe.StringData(body), int32(len(body)), &pairs[0], int32(len(pairs)), grpcStatus); st != 0 {
		return fmt.Errorf("send a local reply: status %d", st)
	}
	return nil
}

// encodePairs writes headers as proxy-wasm does: their number, all sizes, then all texts, each with a NUL after it.
func encodePairs(headers [][2]string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(headers)))
	for _, h := range headers {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(h[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(h[1])))
	}
	for _, h := range headers {
		out = append(append(out, h[0]...), 0)
		out = append(append(out, h[1]...), 0)
	}
	return out
}
