// Package wasm holds Mizzen's policies as proxy-wasm modules. The code is in its folders: host runs the policy chain in
// a VM, cmd has the modules' mains, and wasmtest is a library for testing proxy-wasm modules. Here are the tests of
// the modules themselves.
package wasm
