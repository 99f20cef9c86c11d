package mesh

import (
	"strconv"
	"strings"
)

// Special clusters and virtual hosts, named as Istio names them.
const (
	PassthroughCluster        = "PassthroughCluster"
	BlackHoleCluster          = "BlackHoleCluster"
	InboundPassthroughCluster = "InboundPassthroughCluster"
	// LimitCluster is the rate-limit service, in proxies that ask it.
	LimitCluster = "mizzen-ratelimit"
	// MeshGateway is the name that stands for all sidecars in VirtualService.gateways.
	MeshGateway = "mesh"
)

// OutboundCluster names the cluster of a service port or of a subset of it: "outbound|9080|v1|reviews...".
func OutboundCluster(port uint32, subset, hostname string) string {
	return "outbound|" + strconv.FormatUint(uint64(port), 10) + "|" + subset + "|" + hostname
}

// InboundCluster names the cluster, and the route table, of a workload port: "inbound|9080||".
func InboundCluster(port uint32) string {
	return "inbound|" + strconv.FormatUint(uint64(port), 10) + "||"
}

// ServiceHost is the full name of a Kubernetes Service.
func ServiceHost(name, namespace, domainSuffix string) string {
	return name + "." + namespace + ".svc." + domainSuffix
}

// ResolveHost resolves a host as Istio does: a name without a dot is a Service of the object's own namespace; anything with a dot, a
// wildcard or an address is taken as it stands. Lower case.
func ResolveHost(host, namespace, domainSuffix string) string {
	host = strings.ToLower(host)
	if host == "" || strings.ContainsAny(host, ".*:") {
		return host
	}
	return ServiceHost(host, namespace, domainSuffix)
}

// IsWildcard tells whether a host name is "*" or begins with "*.".
func IsWildcard(host string) bool { return strings.HasPrefix(host, "*") }

// HostCovers tells whether every name that host stands for is also one of pattern's. Both may be wildcards:
// "*" covers all, "*.example.com" covers "a.example.com" and "*.b.example.com" but not "example.com".
func HostCovers(pattern, host string) bool {
	if !IsWildcard(pattern) {
		return pattern == host
	}
	suffix := pattern[1:]
	if !IsWildcard(host) {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix) || suffix == ""
	}
	return strings.HasSuffix(host[1:], suffix)
}

// Wider returns the next wider wildcard: a.b.c, *.b.c, *.c, *, "".
func Wider(host string) string {
	if host == "*" {
		return ""
	}
	rest := strings.TrimPrefix(host, "*.")
	if _, tail, ok := strings.Cut(rest, "."); ok {
		return "*." + tail
	}
	return "*"
}

// HostIntersection returns the narrower of two host patterns if one covers the other; ok is false if they are disjoint.
func HostIntersection(a, b string) (host string, ok bool) {
	switch {
	case HostCovers(a, b):
		return b, true
	case HostCovers(b, a):
		return a, true
	}
	return "", false
}

// HostLess orders host patterns from the most to the least specific: exact names, then longer wildcards.
func HostLess(a, b string) bool {
	wa, wb := IsWildcard(a), IsWildcard(b)
	if wa != wb {
		return wb
	}
	if wa && len(a) != len(b) {
		return len(a) > len(b)
	}
	return a < b
}

// Selects tells whether labels have every key and value of selector. An empty selector selects everything; whether nil
// means everything or nothing is the caller's to know.
func Selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// PortByNumber returns the service's port of that number, nil if it has none.
func (s *Service) PortByNumber(n uint32) *Port {
	for _, p := range s.Ports {
		if p.Number == n {
			return p
		}
	}
	return nil
}

// On returns the workload's port that p leads to: a WorkloadEntry's own port of p's name, else the target port, by number or
// by the workload's name for it. 0 if the workload has no port of that name.
func (p *Port) On(w *Workload) uint32 {
	if own := w.Ports[p.Name]; own != 0 && w.Entry {
		return own
	}
	if p.TargetName != "" {
		return w.Ports[p.TargetName]
	}
	return p.TargetPort
}

// SubsetByName returns the policy's subset, nil if it has none or p is nil.
func (p *Policy) SubsetByName(name string) *Subset {
	if p == nil {
		return nil
	}
	for _, s := range p.Subsets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// ForPort returns what applies to one port: the port's own settings wholesale if it has any, else the rest. The result
// has no Ports. Nil for nil.
func (t *Traffic) ForPort(port uint32) *Traffic {
	if t == nil {
		return nil
	}
	if own, ok := t.Ports[port]; ok {
		return own
	}
	if t.Ports == nil {
		return t
	}
	out := *t
	out.Ports = nil
	return &out
}

// SidecarOf returns the Sidecar resource of a workload: the first that selects it, else its namespace's, else the root namespace's; nil if
// there is none.
func (w *World) SidecarOf(namespace string, labels map[string]string) *Sidecar {
	var own, root *Sidecar
	for _, s := range w.Sidecars {
		switch {
		case s.Namespace == namespace && s.Selector != nil && Selects(s.Selector, labels):
			return s
		case s.Selector != nil:
		case s.Namespace == namespace && own == nil:
			own = s
		case s.Namespace == w.Settings.RootNamespace && root == nil:
			root = s
		}
	}
	if own != nil {
		return own
	}
	return root
}
