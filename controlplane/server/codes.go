package server

// Codes of the diagnostics that come from proxies.
const (
	CodeRejected = "MZ0601" // Envoy refused a resource; the proxy keeps the last good one
	CodeSilent   = "MZ0602" // a proxy does not acknowledge; the order of updates no longer waits for it
	CodeNoModule = "MZ0603" // a proxy cannot load what runs the policies; Envoy's own filters stand in, as far as they go
	CodeBuild    = "MZ0604" // a proxy's configuration could not be built
	CodeLeftOut  = "MZ0607" // Envoy refused what an EnvoyFilter made; a proxy that has nothing older goes without it
)
