package xdsgen

import (
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// edits is HeaderOps in Envoy's form.
type edits struct {
	requestAdd, responseAdd       []*corev3.HeaderValueOption
	requestRemove, responseRemove []string
	// authority, if not "", rewrites the host: Envoy cannot change :authority by a header edit, so Istio lowers a set
	// or added "host" to a host rewrite.
	authority string
}

func headerEdits(h mesh.HeaderOps) edits {
	e := edits{
		requestAdd:     headerOptions(h.Request),
		responseAdd:    headerOptions(h.Response),
		requestRemove:  editable(h.Request.Remove),
		responseRemove: editable(h.Response.Remove),
	}
	for _, m := range []map[string]string{h.Request.Set, h.Request.Add} {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if e.authority == "" && (strings.EqualFold(k, "host") || strings.EqualFold(k, ":authority")) {
				e.authority = m[k]
			}
		}
	}
	return e
}

// headerOptions lists sets, then adds, each sorted by name: a set must not wipe out an add of the same name.
func headerOptions(h mesh.HeaderEdit) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	add := func(m map[string]string, action corev3.HeaderValueOption_HeaderAppendAction) {
		for _, k := range editable(slices.Sorted(maps.Keys(m))) {
			out = append(out, &corev3.HeaderValueOption{
				Header: &corev3.HeaderValue{Key: k, Value: m[k]}, AppendAction: action,
				// Envoy drops an empty value unless told to keep it; a user who sets "" wants the header.
				KeepEmptyValue: m[k] == "",
			})
		}
	}
	add(h.Set, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD)
	add(h.Add, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD)
	return out
}

// editable leaves out the names that Envoy forbids to edit.
func editable(names []string) []string {
	var out []string
	for _, n := range names {
		if !strings.HasPrefix(n, ":") && !strings.EqualFold(n, "host") {
			out = append(out, n)
		}
	}
	return out
}
