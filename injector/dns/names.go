package dns

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/nds"
)

// names is a table made for looking up: keys are in lower case and end without a dot.
type names struct {
	hosts map[string][]netip.Addr
	wild  map[string][]netip.Addr // "example.com" of "*.example.com"
}

// newNames reads a table as a pod of a namespace sees it. A Service is found by all names that a pod of Kubernetes may call it:
// reviews (in its own namespace), reviews.shop, reviews.shop.svc and the whole.
func newNames(t nds.Table, namespace string) *names {
	n := &names{hosts: map[string][]netip.Addr{}, wild: map[string][]netip.Addr{}}
	for host, e := range t {
		host = canonical(host)
		ips := addresses(e.Addresses)
		if below, ok := strings.CutPrefix(host, "*."); ok {
			n.wild[below] = ips
			continue
		}
		n.hosts[host] = ips
	}
	// A host that has a name of its own is not in the shadow of a Service's short one.
	for _, e := range t {
		if e.ShortName == "" || e.Namespace == "" {
			continue
		}
		forms := []string{e.ShortName + "." + e.Namespace, e.ShortName + "." + e.Namespace + ".svc"}
		if e.Namespace == namespace {
			forms = append(forms, e.ShortName)
		}
		for _, f := range forms {
			if f = canonical(f); n.hosts[f] == nil {
				n.hosts[f] = addresses(e.Addresses)
			}
		}
	}
	return n
}

// addresses parses those that are IP addresses.
func addresses(texts []string) []netip.Addr {
	out := []netip.Addr{}
	for _, text := range texts {
		if ip, err := netip.ParseAddr(text); err == nil {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// find returns the addresses of a name. ok is false if it is not of the mesh. The list is the caller's.
func (n *names) find(name string) (ips []netip.Addr, ok bool) {
	name = canonical(name)
	if ips, ok = n.hosts[name]; ok {
		return slices.Clone(ips), true
	}
	for rest := name; ; {
		_, below, more := strings.Cut(rest, ".")
		if !more {
			return nil, false
		}
		if ips, ok = n.wild[below]; ok {
			return slices.Clone(ips), true
		}
		rest = below
	}
}
