package view

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// patches lists what EnvoyFilters change for a proxy, in order; nil for most.
func (c *Cache) patches(n mesh.Node) []*mesh.Patch {
	var out []*mesh.Patch
	for _, f := range c.world.Filters {
		if f.Namespace != n.Namespace && f.Namespace != c.world.Settings.RootNamespace || !mesh.Selects(f.Selector, n.Labels) {
			continue
		}
		if len(n.Without) > 0 && slices.Contains(n.Without, FilterKey(f)) {
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

// FilterKey names an EnvoyFilter with its content, wherever it stands in its file: the words of mesh.Node.Without.
func FilterKey(f *mesh.EnvoyFilter) string {
	bare := *f
	bare.Origin, bare.Patches = mesh.Origin{}, nil
	sum := sha256.New()
	enc := json.NewEncoder(sum)
	_ = enc.Encode(bare) // plain values and a hash cannot fail
	for _, p := range f.Patches {
		q := *p
		q.Origin = mesh.Origin{}
		_ = enc.Encode(q)
	}
	return f.Namespace + "/" + f.Name + " " + hex.EncodeToString(sum.Sum(nil)[:8])
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
