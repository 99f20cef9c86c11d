package view

import (
	"regexp"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// patches lists what EnvoyFilters change for a proxy, in order; nil for most.
func (c *Cache) patches(n mesh.Node) []*mesh.Patch {
	var out []*mesh.Patch
	for _, f := range c.world.Filters {
		if f.Namespace != n.Namespace && f.Namespace != c.world.Settings.RootNamespace || !mesh.Selects(f.Selector, n.Labels) {
			continue
		}
		for _, p := range f.Patches {
			if patches(p, n) {
				out = append(out, p)
			}
		}
	}
	return out
}

// patches tells whether a patch is for this proxy, as far as the proxy alone decides.
func patches(p *mesh.Patch, n mesh.Node) bool {
	if p.Context != "" && (p.Context == "GATEWAY") != n.Gateway {
		return false
	}
	for k, v := range p.Metadata {
		if got, ok := n.Metadata[k]; !ok || got != v {
			return false
		}
	}
	if p.ProxyVersion == "" {
		return true
	}
	version := n.Metadata["ISTIO_VERSION"]
	re, err := regexp.Compile(p.ProxyVersion)
	return err == nil && version != "" && re.MatchString(version)
}

// Patched tells whether EnvoyFilters change what a proxy is given: then it shares its configuration with no other.
func (t *Tracker) Patched(n mesh.Node) bool { return len(t.cache.patches(n)) > 0 }
