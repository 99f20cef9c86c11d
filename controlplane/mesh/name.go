package mesh

// Name is a host name that a proxy's agent answers DNS questions for.
type Name struct {
	Host      string   // FQDN, or "*.example.com"
	Addresses []string // IP addresses, at least one
	// ShortName and Namespace are a Kubernetes Service's; "" for a ServiceEntry's host.
	ShortName, Namespace string
}
