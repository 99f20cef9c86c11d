package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

func headerOps(in *networking.Headers) mesh.HeaderOps {
	return mesh.HeaderOps{Request: headerEdit(in.GetRequest()), Response: headerEdit(in.GetResponse())}
}

func headerEdit(in *networking.Headers_HeaderOperations) mesh.HeaderEdit {
	return mesh.HeaderEdit{Set: in.GetSet(), Add: in.GetAdd(), Remove: in.GetRemove()}
}

// authority turns a set or added request header host or :authority into a rewrite, as Istio does, and drops the other
// names that a proxy must not touch. With several destinations the header stays with the destination as ":authority",
// because only that side rewrites.
func (c *compiler) authority(m *istio.Meta, path string, r *mesh.Route) {
	host := c.cleanHeaders(m, path+".headers", &r.Headers)
	for i, d := range r.Destinations {
		own := c.cleanHeaders(m, index(path+".route", i)+".headers", &d.Headers)
		switch {
		case own == "":
		case len(r.Destinations) == 1 && host == "":
			host = own
		case host == "":
			d.Headers.Request.Set = with(d.Headers.Request.Set, ":authority", own)
		}
	}
	if host == "" || r.Rewrite != nil && r.Rewrite.Authority != "" {
		return
	}
	rw := mesh.Rewrite{}
	if r.Rewrite != nil {
		rw = *r.Rewrite
	}
	rw.Authority = host
	r.Rewrite = &rw
}

// cleanHeaders removes host and pseudo headers from the edits and returns the authority they asked for.
func (c *compiler) cleanHeaders(m *istio.Meta, path string, ops *mesh.HeaderOps) (host string) {
	take := func(in map[string]string, at string, request bool) map[string]string {
		out := map[string]string{}
		for _, k := range slices.Sorted(maps.Keys(in)) {
			lower := strings.ToLower(k)
			switch {
			case request && (lower == "host" || lower == ":authority"):
				host = in[k]
			case lower == "host" || strings.HasPrefix(k, ":"):
				c.report(m, path+at, istio.Warning, codeHeader, "header "+k+" cannot be changed here and is left alone", "")
			default:
				out[k] = in[k]
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	}
	ops.Request.Set = take(ops.Request.Set, ".request.set", true)
	ops.Request.Add = take(ops.Request.Add, ".request.add", true)
	ops.Response.Set = take(ops.Response.Set, ".response.set", false)
	ops.Response.Add = take(ops.Response.Add, ".response.add", false)
	ops.Request.Remove = c.removable(m, path+".request.remove", ops.Request.Remove)
	ops.Response.Remove = c.removable(m, path+".response.remove", ops.Response.Remove)
	return host
}

func (c *compiler) removable(m *istio.Meta, path string, names []string) []string {
	var out []string
	for i, n := range names {
		if strings.HasPrefix(n, ":") || strings.EqualFold(n, "host") {
			c.report(m, index(path, i), istio.Warning, codeHeader, "header "+n+" cannot be removed and is left alone", "")
			continue
		}
		out = append(out, n)
	}
	return out
}

func with(m map[string]string, k, v string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	out[k] = v
	return out
}
