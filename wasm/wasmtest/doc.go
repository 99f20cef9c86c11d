// Package wasmtest runs a proxy-wasm module under wazero in `go test`: it plays the proxy. A test gives headers and
// bodies, and sees headers, local replies, pauses, HTTP calls, metrics, properties and logs. Time stands still until
// the test moves it, and randomness is seeded, so that a test gives the same answer every time.
//
// It speaks the part of the proxy-wasm ABI 0.2.1 that HTTP filters need, for modules in any language. README.md says
// what it leaves out, and example_test.go shows it at work.
package wasmtest
