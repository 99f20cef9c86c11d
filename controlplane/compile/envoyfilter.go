package compile

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"google.golang.org/protobuf/types/known/structpb"
	networking "istio.io/api/networking/v1alpha3"
)

// envoyFilters lowers EnvoyFilters, in Istio's order: the root namespace's first, then by priority, age, and name.
func (c *compiler) envoyFilters() {
	root := c.world.Settings.RootNamespace
	list := byPrecedence(c.set.EnvoyFilters)
	slices.SortStableFunc(list, func(a, b *istio.Object[*networking.EnvoyFilter]) int {
		later := func(o *istio.Object[*networking.EnvoyFilter]) int {
			if o.Namespace == root {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(later(a), later(b)), cmp.Compare(a.Spec.GetPriority(), b.Spec.GetPriority()))
	})
	for _, o := range list {
		f := &mesh.EnvoyFilter{Namespace: o.Namespace, Name: o.Name, Origin: origin(&o.Meta, "")}
		if l := o.Spec.GetWorkloadSelector().GetLabels(); len(l) > 0 {
			f.Selector = l
			c.checkSelected(&o.Meta, "spec.workloadSelector", l)
		}
		for i, p := range o.Spec.GetConfigPatches() {
			f.Patches = append(f.Patches, patchOf(&o.Meta, index("spec.configPatches", i), p))
		}
		c.world.Filters = append(c.world.Filters, f)
	}
}

// checkSelected warns of labels that no workload and no gateway has; from the root namespace any namespace's count.
func (c *compiler) checkSelected(m *istio.Meta, path string, labels map[string]string) {
	namespace := m.Namespace
	if namespace == c.world.Settings.RootNamespace {
		namespace = ""
	}
	if !c.selectsGateway(labels) {
		c.checkSelector(m, path, namespace, labels)
	}
}

func patchOf(m *istio.Meta, path string, in *networking.EnvoyFilter_EnvoyConfigObjectPatch) *mesh.Patch {
	match := in.GetMatch()
	p := &mesh.Patch{
		ApplyTo: in.GetApplyTo().String(), Operation: in.GetPatch().GetOperation().String(), Origin: origin(m, path),
		ProxyVersion: match.GetProxy().GetProxyVersion(), Metadata: match.GetProxy().GetMetadata(), Value: valueOf(in.GetPatch().GetValue()),
	}
	if c := match.GetContext(); c != networking.EnvoyFilter_ANY {
		p.Context = c.String()
	}
	if c := in.GetPatch().GetFilterClass(); c != networking.EnvoyFilter_Patch_UNSPECIFIED {
		p.FilterClass = c.String()
	}
	if l := match.GetListener(); l != nil {
		chain := l.GetFilterChain()
		p.Listener = &mesh.ListenerMatch{
			Name: l.GetName(), Port: l.GetPortNumber(), ListenerFilter: l.GetListenerFilter(),
			Chain: chain.GetName(), SNI: chain.GetSni(), Transport: chain.GetTransportProtocol(), DestinationPort: chain.GetDestinationPort(),
			Applications: words(chain.GetApplicationProtocols()), Filter: chain.GetFilter().GetName(), SubFilter: chain.GetFilter().GetSubFilter().GetName(),
		}
	}
	if r := match.GetRouteConfiguration(); r != nil {
		p.Table = &mesh.TableMatch{
			Name: r.GetName(), Port: r.GetPortNumber(), PortName: r.GetPortName(), Gateway: r.GetGateway(),
			Host: r.GetVhost().GetName(), Domain: r.GetVhost().GetDomainName(), Route: r.GetVhost().GetRoute().GetName(),
		}
		if a := r.GetVhost().GetRoute().GetAction(); a != networking.EnvoyFilter_RouteConfigurationMatch_RouteMatch_ANY {
			p.Table.Action = a.String()
		}
	}
	if k := match.GetCluster(); k != nil {
		p.Cluster = &mesh.ClusterMatch{Name: k.GetName(), Service: k.GetService(), Subset: k.GetSubset(), Port: k.GetPortNumber()}
	}
	return p
}

// valueOf is a value as JSON, its keys in order; "" for none.
func valueOf(s *structpb.Struct) string {
	if s == nil {
		return ""
	}
	raw, err := json.Marshal(s.AsMap())
	if err != nil { // a Struct came from JSON
		return ""
	}
	return string(raw)
}

// words splits a list with commas; nil for an empty one.
func words(list string) []string {
	var out []string
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}
