package server

import (
	"bytes"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// blame finds which resources of a rejected response Envoy complains about: those that its message names, else those
// that name a cluster which it names, else those with the file that it cannot read, else all.
func blame(set []*xdsgen.Resource, text string) map[string]bool {
	guilty := map[string]bool{}
	for _, r := range set {
		if mentions(text, r.Name) || r.Table != "" && mentions(text, strings.TrimPrefix(r.Name, r.Table+"/")) {
			guilty[r.Name] = true
		}
	}
	if len(guilty) > 0 {
		return guilty
	}
	for _, r := range set {
		for _, c := range r.Clusters {
			if mentions(text, c) {
				guilty[r.Name] = true
			}
		}
	}
	if len(guilty) > 0 {
		return guilty
	}
	if path := badPath(text); path != "" {
		for _, r := range set {
			if bytes.Contains(r.Body.GetValue(), []byte(path)) {
				guilty[r.Name] = true
			}
		}
	}
	if len(guilty) > 0 {
		return guilty
	}
	for _, r := range set {
		guilty[r.Name] = true
	}
	return guilty
}

// badPath is the file that Envoy says it cannot read: then it names no resource. "" if it says no such thing.
func badPath(text string) string {
	_, rest, _ := strings.Cut(text, "Invalid path: ")
	path, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(path)
}

// mentions tells whether text holds name as a whole: "80" is not mentioned by "8080".
func mentions(text, name string) bool {
	for from := 0; name != ""; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(name)
		if (i == 0 || !nameByte(text[i-1])) && (end == len(text) || !nameByte(text[end]) || endsName(text, end)) {
			return true
		}
		from = i + 1
	}
	return false
}

// endsName tells whether the punctuation at i closes a sentence or a name rather than goes on with one.
func endsName(text string, i int) bool {
	return (text[i] == ':' || text[i] == '.') && (i+1 == len(text) || text[i+1] == ' ')
}

// nameByte tells whether a byte may stand in a resource name.
func nameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("._-|/:*", b) >= 0
}

// moduleMissing tells from a rejection that the proxy cannot load what runs Mizzen's policies at all. A module that refuses its
// configuration says "Failed to initialize": that is the configuration's fault, not the proxy's.
// A wasm VM is different: Envoy says the same of a module that it cannot run and of one that refuses its configuration.
func moduleMissing(h mesh.FilterHost, text string) bool {
	t := strings.ToLower(text)
	absent := strings.Contains(t, "didn't find a registered implementation")
	switch h {
	case mesh.HostModule:
		return strings.Contains(t, "failed to load dynamic module") || absent && strings.Contains(t, "envoy.filters.http.dynamic_modules")
	case mesh.HostWasm:
		return strings.Contains(t, "wasm") && !strings.Contains(t, "extensions.istio.io/") || // a user's plugin is another's fault
			strings.Contains(t, "invalid path:")
	case mesh.HostGolang:
		return strings.Contains(t, "golang_filter: load library failed") || absent && strings.Contains(t, "envoy.extensions.filters.http.golang.")
	}
	return false
}
