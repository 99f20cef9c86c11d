// Package host runs the policy chain inside a proxy-wasm VM. It maps the callbacks of the proxy-wasm Go SDK onto
// filter.Run: one snapshot of the headers per request, one pass through the chain, edits written back.
//
// The plugin's configuration is the JSON of registry.Config. Envoy has no per-route configuration for wasm, so a
// route, or else its virtual host, carries its own as JSON text in its metadata: namespace "mizzen", key "config".
package host

// Namespace is the metadata namespace that holds a route's configuration, and the prefix of all names that the chain
// gives to things in Envoy: metrics ("mizzen_...") and filter state ("wasm.mizzen.<key>").
const Namespace = "mizzen"

// ConfigKey is the key in the metadata namespace whose text is a route's configuration.
const ConfigKey = "config"
