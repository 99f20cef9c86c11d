package run

// Codes of what a host of the policies cannot do, see HostFindings, and of what plugins lack.
const (
	CodeNativeLeftOut = "MZ0605" // Envoy's own filters, which run the policies in some proxies, cannot do this: it is not in force there
	CodeHostDiffers   = "MZ0606" // what runs the policies in some proxies does this with a difference
	CodeModule        = "MZ0610" // a plugin's module cannot be fetched, or is none; it is tried again
)
