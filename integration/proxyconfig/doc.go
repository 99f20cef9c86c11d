// Package proxyconfig shows on real Envoys, run by `mizzen up`, what MeshConfig, its defaultConfig, the kind ProxyConfig and the
// annotation proxy.istio.io/config do to them. One mesh serves every test.
package proxyconfig
