package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// delegate puts the routes of another VirtualService in the place of one that delegates to it, as Istio does: each of its
// matches within one of the root's, and what it leaves open as the root says. A delegate that is not there, or not for this
// namespace, drops the route.
func (c *compiler) delegate(r *rule, path string, root *networking.HTTPRoute, sticky *canary.Sticky) {
	to := root.GetDelegate()
	ns := to.GetNamespace()
	if ns == "" {
		ns = r.Namespace
	}
	drop := func(message, fix string) {
		c.report(&r.object.Meta, path+".delegate", istio.Error, codeDelegate, message+": the route is left out", fix)
	}
	i := slices.IndexFunc(c.set.VirtualServices, func(o *istio.Object[*networking.VirtualService]) bool {
		return o.Name == to.GetName() && o.Namespace == ns
	})
	if i < 0 {
		drop(fmt.Sprintf("there is no VirtualService %s in namespace %s", to.GetName(), ns), "")
		return
	}
	o := c.set.VirtualServices[i]
	switch {
	case len(o.Spec.GetHosts()) > 0:
		drop(fmt.Sprintf("VirtualService %s/%s has hosts of its own, and so is no delegate", ns, o.Name), "take its hosts away")
		return
	case !visibility(exportOr(o.Spec.GetExportTo(), c.meshConfig().GetDefaultVirtualServiceExportTo()), o.Namespace).In(r.Namespace):
		drop(fmt.Sprintf("VirtualService %s/%s is not exported to namespace %s", ns, o.Name, r.Namespace), "add "+r.Namespace+" to its exportTo")
		return
	}
	for j, leaf := range o.Spec.GetHttp() {
		at := index("spec.http", j)
		if leaf.GetDelegate() != nil {
			continue // a delegate of a delegate: its own diagnostic says so
		}
		merged, ok := mergeDelegate(r.Namespace, root, leaf)
		if !ok {
			c.report(&o.Meta, at+".match", istio.Warning, codeDelegate,
				fmt.Sprintf("no request that %s (%s) delegates here can match this: the route is left out of it",
					r.object.Ref, originAt(origin(&r.object.Meta, path))), "write a match within the root's")
			continue
		}
		if route := c.route(&o.Meta, at, merged, sticky); route != nil {
			r.Routes, r.at, r.from[route] = append(r.Routes, route), append(r.at, at), o
		}
	}
}

// analyzeDelegate checks a VirtualService without hosts by itself.
func (c *compiler) analyzeDelegate(o *istio.Object[*networking.VirtualService]) {
	used := slices.ContainsFunc(c.set.VirtualServices, func(root *istio.Object[*networking.VirtualService]) bool {
		return slices.ContainsFunc(root.Spec.GetHttp(), func(h *networking.HTTPRoute) bool {
			d := h.GetDelegate()
			return d.GetName() == o.Name && (d.GetNamespace() == o.Namespace || d.GetNamespace() == "" && root.Namespace == o.Namespace)
		})
	})
	if !used {
		c.report(&o.Meta, "", istio.Warning, codeDelegate, "no VirtualService delegates to this one, which has no hosts: it has no effect",
			"add hosts, or a route with delegate: {name: "+o.Name+"}")
	}
	for i, h := range o.Spec.GetHttp() {
		if h.GetDelegate() != nil {
			c.report(&o.Meta, index("spec.http", i)+".delegate", istio.Error, codeDelegate,
				"a delegate's route delegates once more: it is left out", "only one level is followed, as in Istio: name this delegate in the root")
		}
	}
}

// mergeDelegate is the leaf with what it leaves open taken from the root. False: no match of it lies within the root's.
func mergeDelegate(namespace string, root, leaf *networking.HTTPRoute) (*networking.HTTPRoute, bool) {
	out := proto.Clone(leaf).(*networking.HTTPRoute)
	above := proto.Clone(root).(*networking.HTTPRoute)
	for _, m := range above.GetMatch() {
		for i, g := range m.GetGateways() {
			m.Gateways[i] = gatewayName(g, namespace) // the leaf may stand in another namespace
		}
	}
	switch {
	case len(above.GetMatch()) == 0:
	case len(out.GetMatch()) == 0:
		out.Match = above.GetMatch()
	default:
		out.Match = nil
		for _, x := range leaf.GetMatch() {
			for _, y := range above.GetMatch() {
				if m := mergeMatch(y, x); m != nil {
					out.Match = append(out.Match, m)
				}
			}
		}
		if len(out.Match) == 0 {
			return nil, false
		}
	}
	if above.GetName() != "" && out.GetName() != "" {
		out.Name = above.GetName() + "-" + out.GetName()
	} else {
		out.Name += above.GetName()
	}
	inherit(out, above)
	return out, true
}

// inherit fills what out leaves open.
func inherit(out, from *networking.HTTPRoute) {
	fill := out.ProtoReflect()
	above := from.ProtoReflect()
	for _, name := range []string{"rewrite", "timeout", "retries", "fault", "cors_policy"} {
		fd := fill.Descriptor().Fields().ByTextName(name)
		if !fill.Has(fd) && above.Has(fd) {
			fill.Set(fd, above.Get(fd))
		}
	}
	if out.Mirror == nil && len(out.Mirrors) == 0 {
		out.Mirror, out.Mirrors, out.MirrorPercentage = from.Mirror, from.Mirrors, from.MirrorPercentage
	}
	if from.GetHeaders() != nil {
		out.Headers = &networking.Headers{
			Request:  mergeHeaders(from.GetHeaders().GetRequest(), out.GetHeaders().GetRequest()),
			Response: mergeHeaders(from.GetHeaders().GetResponse(), out.GetHeaders().GetResponse()),
		}
	}
}

// mergeHeaders joins two; on the same name the leaf's counts.
func mergeHeaders(root, leaf *networking.Headers_HeaderOperations) *networking.Headers_HeaderOperations {
	if root == nil || leaf == nil {
		if leaf == nil {
			return root
		}
		return leaf
	}
	join := func(a, b map[string]string) map[string]string {
		out := maps.Clone(a)
		if out == nil {
			out = map[string]string{}
		}
		maps.Copy(out, b)
		return out
	}
	return &networking.Headers_HeaderOperations{
		Set: join(root.Set, leaf.Set), Add: join(root.Add, leaf.Add), Remove: slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(root.Remove), leaf.Remove...)))),
	}
}

// mergeMatch is what both ask; nil if nothing can be both. Where both speak of one thing the leaf, which is within the root's,
// stands.
func mergeMatch(root, leaf *networking.HTTPMatchRequest) *networking.HTTPMatchRequest {
	out := proto.Clone(leaf).(*networking.HTTPMatchRequest)
	above := proto.Clone(root).(*networking.HTTPMatchRequest)
	ok := true
	one := func(a, b *networking.StringMatch) *networking.StringMatch {
		ok = ok && within(a, b)
		if b == nil {
			return a
		}
		return b
	}
	all := func(a, b map[string]*networking.StringMatch) map[string]*networking.StringMatch {
		merged := map[string]*networking.StringMatch{}
		maps.Copy(merged, a)
		for k, v := range b {
			merged[k] = one(a[k], v)
		}
		return merged
	}
	out.Uri, out.Scheme, out.Method, out.Authority = one(above.Uri, out.Uri), one(above.Scheme, out.Scheme), one(above.Method, out.Method), one(above.Authority, out.Authority)
	out.Headers, out.WithoutHeaders, out.QueryParams = all(above.Headers, out.Headers), all(above.WithoutHeaders, out.WithoutHeaders), all(above.QueryParams, out.QueryParams)
	out.IgnoreUriCase = out.IgnoreUriCase || above.IgnoreUriCase
	if above.Port != 0 {
		ok = ok && (out.Port == 0 || out.Port == above.Port)
		out.Port = above.Port
	}
	if above.SourceNamespace != "" {
		ok = ok && (out.SourceNamespace == "" || out.SourceNamespace == above.SourceNamespace)
		out.SourceNamespace = above.SourceNamespace
	}
	labels := maps.Clone(above.SourceLabels)
	for k, v := range out.SourceLabels {
		if labels == nil {
			labels = map[string]string{}
		}
		ok = ok && (labels[k] == "" || labels[k] == v)
		labels[k] = v
	}
	out.SourceLabels = labels
	if len(above.Gateways) > 0 {
		out.Gateways = above.Gateways // a leaf has none of its own
	}
	if above.Name != "" && out.Name != "" {
		out.Name = above.Name + "-" + out.Name
	} else {
		out.Name += above.Name
	}
	if !ok {
		return nil
	}
	return out
}

// within tells whether a leaf's condition lies within the root's, as Istio judges it: regular expressions are not compared.
func within(root, leaf *networking.StringMatch) bool {
	if root == nil || leaf == nil || root.GetMatchType() == nil || leaf.GetMatchType() == nil || proto.Equal(root, leaf) {
		return true
	}
	switch r := root.GetMatchType().(type) {
	case *networking.StringMatch_Exact:
		return leaf.GetRegex() == "" && leaf.GetExact() == r.Exact
	case *networking.StringMatch_Prefix:
		return leaf.GetRegex() == "" && (strings.HasPrefix(leaf.GetPrefix(), r.Prefix) || strings.HasPrefix(leaf.GetExact(), r.Prefix))
	}
	return false
}
