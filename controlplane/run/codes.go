package run

// Codes of what a host of the policies cannot do: see HostFindings.
const (
	CodeNativeLeftOut = "MZ0605" // Envoy's own filters, which run the policies in some proxies, cannot do this: it is not in force there
	CodeHostDiffers   = "MZ0606" // what runs the policies in some proxies does this with a difference
)
