package compile

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// analyzeSharedHosts finds hosts that several VirtualServices have at one gateway: there their routes are joined, the oldest
// object's first. Told is what becomes of the younger one's.
func (c *compiler) analyzeSharedHosts() {
	type claim struct{ gateway, host string }
	older := map[claim][]*rule{}
	for _, r := range c.rules {
		if len(r.Routes) == 0 {
			continue
		}
		for _, g := range r.Gateways {
			for i, h := range r.object.Spec.GetHosts() {
				k := claim{g, c.fqdn(h, r.Namespace)}
				if g == mesh.MeshGateway || slices.Contains(older[k], r) {
					continue
				}
				c.reportShared(r, index("spec.hosts", i), g, k.host, older[k])
				older[k] = append(older[k], r)
			}
		}
	}
}

// reportShared is about one host of a rule. Of several older ones that one is named that takes requests from it, else the oldest.
func (c *compiler) reportShared(r *rule, path, gateway, host string, older []*rule) {
	older = slices.DeleteFunc(slices.Clone(older), func(o *rule) bool { return !overlap(o.Visibility, r.Visibility) })
	if len(older) == 0 {
		return
	}
	first, severity, so := older[0], istio.Info, "its routes come before these, but those that match everything come last"
	for _, o := range older {
		if mine, theirs := hidden(r, o, gateway); mine != "" {
			first, severity = o, istio.Warning
			so = fmt.Sprintf("its %s takes what %s here matches, of which nothing reaches it", theirs, mine)
			break
		}
	}
	c.report(&r.object.Meta, path, severity, codeShared,
		fmt.Sprintf("VirtualService %s/%s (%s) is older and has %s at gateway %s too: %s",
			first.Namespace, first.Name, originAt(first.Origin), host, gateway, so), "join the two into one VirtualService")
}

// hidden finds a route of r that an older rule's takes all requests from, at a gateway; "" if there is none.
func hidden(r, older *rule, gateway string) (mine, theirs string) {
	for i, route := range r.Routes {
		for _, m := range matchesAt(route, gateway) {
			for j, other := range older.Routes {
				if slices.ContainsFunc(matchesAt(other, gateway), func(o mesh.Match) bool { return covers(o, m) }) {
					return r.at[i], older.at[j]
				}
			}
		}
	}
	return "", ""
}

// matchesAt are a route's matches that may hold at a gateway, as far as requests are looked at.
func matchesAt(r *mesh.Route, gateway string) []mesh.Match {
	if len(r.Matches) == 0 {
		return []mesh.Match{{}}
	}
	var out []mesh.Match
	for _, m := range r.Matches {
		if len(m.Gateways) == 0 || slices.Contains(m.Gateways, gateway) {
			bare := mesh.Match{Request: m.Request, Port: m.Port, Claims: m.Claims}
			bare.Request.Name = ""
			out = append(out, bare)
		}
	}
	return out
}

// covers tells whether one of two matches takes all that the other would, as far as that is plain: they are alike, or both take
// everything.
func covers(a, b mesh.Match) bool {
	if a.Port != 0 && a.Port != b.Port {
		return false
	}
	return a.CatchAll() && b.CatchAll() || reflect.DeepEqual(a.Request, b.Request) && reflect.DeepEqual(a.Claims, b.Claims)
}
