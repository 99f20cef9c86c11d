package compile

import (
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// fqdn is mesh.ResolveHost with the mesh's domain.
func (c *compiler) fqdn(host, namespace string) string {
	return mesh.ResolveHost(host, namespace, c.world.Settings.DomainSuffix)
}

// gatewayName resolves "name", "namespace/name", "./name" and the obsolete "name.namespace" to "namespace/name".
func gatewayName(gw, namespace string) string {
	if gw == mesh.MeshGateway {
		return gw
	}
	if ns, name, ok := strings.Cut(gw, "/"); ok {
		if ns == "." {
			ns = namespace
		}
		return ns + "/" + name
	}
	parts := strings.Split(gw, ".")
	if len(parts) > 1 {
		return parts[1] + "/" + parts[0]
	}
	return namespace + "/" + gw
}

// lookup returns the service that a client in namespace gets for a host: its own namespace's, then a Kubernetes one,
// then the first; nil if it sees none. A wildcard service is no destination for the hosts it covers: it
// has one cluster, under its own name.
func (c *compiler) lookup(host, namespace string) *mesh.Service {
	var best *mesh.Service
	for _, s := range c.byHost[host] {
		if !s.Visibility.In(namespace) {
			continue
		}
		if s.Namespace == namespace {
			return s
		}
		if best == nil || best.ShortName == "" && s.ShortName != "" {
			best = s
		}
	}
	return best
}
