package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// finding is a diagnostic of one proxy; those that differ in the proxy alone are told once.
type finding struct {
	proxy string
	what  istio.Diagnostic
}

// findings are what this stream has to complain of.
func (c *conn) findings() []finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []finding
	add := func(d istio.Diagnostic) { out = append(out, finding{proxyName(c.node), d}) }
	if c.noModule != "" {
		add(istio.Diagnostic{
			Code: CodeNoModule, Severity: istio.Warning,
			Message: "cannot load the " + moduleWord(c.said.Host()) + ", so the policies are in force there as far as Envoy's own filters go: " + oneLine(c.noModule),
			Fix:     moduleFix(c.said),
		})
	}
	if c.failure != "" {
		add(istio.Diagnostic{Code: CodeBuild, Severity: istio.Error, Message: "its configuration could not be built: " + c.failure})
	}
	c.out.each(func(ref istio.Ref, why culprit) { add(leftOut(ref, why)) })
	for _, ch := range c.state.ch {
		for _, ref := range ch.refused {
			add(rejection(ch.kind, ref))
		}
		for _, r := range ch.flight {
			if r.overdue {
				add(istio.Diagnostic{Code: CodeSilent, Severity: istio.Warning, Message: fmt.Sprintf(
					"did not acknowledge %s within %s; updates go on without it", ch.kind.short(), c.state.limits.ack)})
			}
		}
		for name := range ch.released {
			add(unordered(ch, name))
		}
	}
	return out
}

func moduleWord(h mesh.FilterHost) string {
	switch h {
	case mesh.HostWasm:
		return "wasm module"
	case mesh.HostGolang:
		return "golang library"
	}
	return "dynamic module"
}

func moduleFix(n mesh.Node) string {
	switch n.Host() {
	case mesh.HostWasm:
		return "put mizzen.wasm where the proxy finds it as " + n.Wasm + ", or name its file in metadata MIZZEN_WASM"
	case mesh.HostGolang:
		return "start a contrib Envoy (no other has the golang filter), with libmizzen-golang.so where it finds it as " + n.Golang + ", or name its file in metadata MIZZEN_GOLANG"
	}
	return "start Envoy with the module's folder in ENVOY_DYNAMIC_MODULES_SEARCH_PATH"
}

// oneLine joins the lines of an Envoy's message: it says one per resource.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "; ")
}

// rejection names the YAML behind a rejected resource.
func rejection(k kind, ref refusal) istio.Diagnostic {
	d := istio.Diagnostic{
		Code: CodeRejected, Severity: istio.Error,
		Message: fmt.Sprintf("Envoy rejected %s %q, the last good one stays: %s", k.noun(), ref.res.Name, oneLine(ref.text)),
	}
	d.Object, d.Position = place(ref.res.Origins)
	if len(ref.res.Origins) > 1 {
		var also []string
		for _, o := range ref.res.Origins[1:] {
			ref, pos := place([]mesh.Origin{o})
			also = append(also, strings.TrimSpace(ref.String()+" "+pos.String()))
		}
		d.Message += " (also made from " + strings.Join(also, ", ") + ")"
	}
	return d
}

// unordered tells that a resource went out before what it needs was acknowledged.
func unordered(ch *channel, name string) istio.Diagnostic {
	d := istio.Diagnostic{Code: CodeSilent, Severity: istio.Warning, Message: fmt.Sprintf(
		"%s %q was sent although the clusters that it names were not acknowledged in time", ch.kind.noun(), name)}
	if h := ch.sent.at(name); h.res != nil {
		d.Object, d.Position = place(h.res.Origins)
	}
	return d
}

func place(origins []mesh.Origin) (istio.Ref, istio.Position) {
	if len(origins) == 0 {
		return istio.Ref{}, istio.Position{}
	}
	o := origins[0]
	return istio.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}, istio.Position{File: o.File, Line: o.Line}
}

// proxyName is how Istio's tables name a proxy: "pod.namespace".
func proxyName(n mesh.Node) string { return n.Name + "." + n.Namespace }

// Complaint is what one or several proxies say, alike but for who says it.
type Complaint struct {
	What istio.Diagnostic `json:"what"`
	// Proxy is the first of them by name, "" if it is said of no single one; More is how many others say it.
	Proxy string `json:"proxy,omitempty"`
	More  int    `json:"more,omitempty"`
}

// Complaints are what the proxies of this replica refuse, leave unanswered or cannot do, sorted. Each stays until its proxy acknowledges
// the resource, it is replaced, or the proxy goes.
func (s *Server) Complaints() []Complaint {
	by := map[istio.Diagnostic][]string{}
	for _, c := range s.connections() {
		for _, f := range c.findings() {
			if !slices.Contains(by[f.what], f.proxy) {
				by[f.what] = append(by[f.what], f.proxy)
			}
		}
	}
	out := make([]Complaint, 0, len(by))
	for d, proxies := range by {
		out = append(out, Complaint{What: d, Proxy: slices.Min(proxies), More: len(proxies) - 1})
	}
	slices.SortFunc(out, func(a, b Complaint) int { return strings.Compare(a.told().String(), b.told().String()) })
	return out
}

// told is a complaint for a reader.
func (c Complaint) told() istio.Diagnostic {
	d := c.What
	switch {
	case c.Proxy == "":
	case c.More == 0:
		d.Message = "proxy " + c.Proxy + ": " + d.Message
	default:
		d.Message = fmt.Sprintf("proxy %s and %d more: %s", c.Proxy, c.More, d.Message)
	}
	return d
}

// merge tells each diagnostic once, with the proxies that it concerns, of whichever replica they are.
func merge(found []Complaint) istio.Diagnostics {
	by := map[istio.Diagnostic]Complaint{}
	for _, c := range found {
		if old, ok := by[c.What]; ok && c.Proxy != "" {
			c.Proxy, c.More = min(c.Proxy, old.Proxy), c.More+old.More+1
		}
		by[c.What] = c
	}
	out := make(istio.Diagnostics, 0, len(by))
	for _, c := range by {
		out = append(out, c.told())
	}
	out.Sort()
	return out
}

// originsOf is used by pages: the objects behind a resource, as text.
func originsOf(r *xdsgen.Resource) []string {
	var out []string
	for _, o := range r.Origins {
		ref, pos := place([]mesh.Origin{o})
		out = append(out, strings.TrimSpace(ref.String()+" "+pos.String()))
	}
	return out
}
