package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
)

// quarantine is the EnvoyFilters that one proxy goes without, since Envoy refused what they made and the proxy had nothing older to
// keep: a proxy that starts must not be left without configuration for the sake of one object. It lasts until the object changes.
type quarantine struct {
	firm  map[istio.Ref]culprit
	guess map[istio.Ref]culprit // at most one: of several that changed what was refused
	tried map[istio.Ref]culprit // were left out alone, which did not help
}

// culprit is an EnvoyFilter as it was when Envoy refused what it made.
type culprit struct {
	key      string // view.FilterKey
	position istio.Position
	what     string // kind and name of the resource
	text     string // Envoy's message
}

func newQuarantine() quarantine {
	return quarantine{map[istio.Ref]culprit{}, map[istio.Ref]culprit{}, map[istio.Ref]culprit{}}
}

// each visits what is left out, sorted.
func (q *quarantine) each(visit func(istio.Ref, culprit)) {
	out := map[istio.Ref]culprit{}
	var refs []istio.Ref
	for _, m := range []map[istio.Ref]culprit{q.firm, q.guess} {
		for ref, c := range m {
			out[ref], refs = c, append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b istio.Ref) int { return strings.Compare(a.String(), b.String()) })
	for _, ref := range refs {
		visit(ref, out[ref])
	}
}

// keys are what mesh.Node.Without is to hold; nil for nearly all proxies.
func (q *quarantine) keys() (out []string) {
	q.each(func(_ istio.Ref, c culprit) { out = append(out, c.key) })
	return out
}

// prune lets go what has changed, or is gone.
func (q *quarantine) prune(w *mesh.World) {
	if len(q.firm)+len(q.guess)+len(q.tried) == 0 {
		return
	}
	now := map[string]bool{}
	for _, f := range w.Filters {
		now[view.FilterKey(f)] = true
	}
	for _, m := range []map[istio.Ref]culprit{q.firm, q.guess, q.tried} {
		for ref, c := range m {
			if !now[c.key] {
				delete(m, ref)
			}
		}
	}
}

// suspect takes up who may be guilty of a rejection. One of them at a time is left out; if that never helps, all are.
func (q *quarantine) suspect(found map[istio.Ref]culprit) {
	for ref, c := range q.guess {
		q.tried[ref] = c
	}
	clear(q.guess)
	var next []istio.Ref
	for ref := range found {
		if _, ok := q.tried[ref]; !ok {
			next = append(next, ref)
		}
	}
	if len(next) > 0 {
		ref := slices.MinFunc(next, func(a, b istio.Ref) int { return strings.Compare(a.String(), b.String()) })
		q.guess[ref] = found[ref]
		return
	}
	for _, m := range []map[istio.Ref]culprit{q.tried, found} {
		for ref, c := range m {
			q.firm[ref] = c
		}
	}
	clear(q.tried)
}

// leaveOut decides, after a rejection, whether the proxy is to go without an EnvoyFilter. c.mu is held.
func (c *conn) leaveOut(w *mesh.World, k kind, refused []refusal) bool {
	if w == nil {
		return false
	}
	found := map[istio.Ref]culprit{}
	for _, r := range refused {
		if !r.bare || strings.Contains(r.text, "Address already in use") {
			continue
		}
		for _, o := range r.res.Origins {
			f := filterOf(w, o)
			if f == nil || guards(f) || c.state.carries(o) {
				continue
			}
			ref, at := place([]mesh.Origin{o})
			if _, known := found[ref]; !known {
				found[ref] = culprit{view.FilterKey(f), at, fmt.Sprintf("%s %q", k.noun(), r.res.Name), oneLine(r.text)}
			}
		}
	}
	if len(found) == 0 {
		return false
	}
	c.out.suspect(found)
	return true
}

// filterOf finds the EnvoyFilter that an origin names.
func filterOf(w *mesh.World, o mesh.Origin) *mesh.EnvoyFilter {
	i := slices.IndexFunc(w.Filters, func(f *mesh.EnvoyFilter) bool {
		return f.Origin.Kind == o.Kind && f.Namespace == o.Namespace && f.Name == o.Name
	})
	if i < 0 {
		return nil
	}
	return w.Filters[i]
}

// guarding are what keeps callers out, by parts of their types' names.
func guarding() []string {
	return []string{".rbac.", ".ext_authz.", ".jwt_authn.", ".basic_auth.", ".api_key_auth.", ".oauth2.", "DownstreamTlsContext"}
}

// guards tells whether an EnvoyFilter may be what keeps callers out: going without it would let them in.
func guards(f *mesh.EnvoyFilter) bool {
	return slices.ContainsFunc(f.Patches, func(p *mesh.Patch) bool {
		return p.FilterClass == "AUTHN" || p.FilterClass == "AUTHZ" ||
			slices.ContainsFunc(guarding(), func(part string) bool { return strings.Contains(p.Value, part) })
	})
}

// carries tells whether the proxy has acknowledged something that an object helped to make: then it has its last good state.
func (s *session) carries(o mesh.Origin) bool {
	found := false
	for _, c := range s.ch {
		c.acked.each(func(_ string, h held) bool {
			found = h.res != nil && slices.ContainsFunc(h.res.Origins, func(x mesh.Origin) bool {
				return x.Kind == o.Kind && x.Namespace == o.Namespace && x.Name == o.Name
			})
			return !found
		})
		if found {
			return true
		}
	}
	return false
}

// without rebuilds what a proxy is to have, less what made Envoy refuse all that it has.
func (s *Server) without(ctx context.Context, c *conn, e event) {
	w, _, _ := s.current()
	c.mu.Lock()
	again := c.leaveOut(w, e.kind, e.refused)
	out := c.out.keys()
	c.mu.Unlock()
	if again {
		s.opt.Log.Warn("a proxy that has nothing older goes without what Envoy refused", "proxy", c.id, "without", len(out))
		s.rebuild(ctx, c)
	}
}

// leftOut is the diagnostic of an EnvoyFilter that a proxy goes without.
func leftOut(ref istio.Ref, c culprit) istio.Diagnostic {
	return istio.Diagnostic{
		Code: CodeLeftOut, Severity: istio.Error, Object: ref, Position: c.position,
		Message: fmt.Sprintf("Envoy rejected %s as this object makes it, and has nothing older: the proxy goes without the object until it changes: %s", c.what, c.text),
		Fix:     "mend what Envoy complains of",
	}
}
