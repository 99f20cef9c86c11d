package compile

import (
	"reflect"
	"slices"

	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// nameLabel is the label that every namespace has in Kubernetes: its own name.
const nameLabel = "kubernetes.io/metadata.name"

// meshConfig is what the mesh says; nil (all defaults) if it says nothing.
func (c *compiler) meshConfig() *meshconfig.MeshConfig {
	if c.set.Mesh == nil {
		return nil
	}
	return c.set.Mesh.Spec
}

// discovered leaves out the objects of namespaces that MeshConfig's discoverySelectors do not pick, but for those of the root namespace.
func discovered(in Inputs) istio.Set {
	set := in.Set
	if set.Mesh == nil || len(set.Mesh.Spec.GetDiscoverySelectors()) == 0 {
		return set
	}
	root := (&compiler{set: set}).settings(in).RootNamespace
	labels := labelsOf(set)
	seen := func(namespace string) bool {
		return namespace == "" || namespace == root || slices.ContainsFunc(set.Mesh.Spec.GetDiscoverySelectors(), func(s *meshconfig.LabelSelector) bool {
			return selectsLabels(s, labels(namespace))
		})
	}
	v := reflect.ValueOf(&set).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Slice || f.Len() == 0 {
			continue
		}
		kept := reflect.MakeSlice(f.Type(), 0, f.Len())
		for j := range f.Len() {
			if seen(reflect.Indirect(f.Index(j)).FieldByName("Namespace").String()) {
				kept = reflect.Append(kept, f.Index(j))
			}
		}
		f.Set(kept)
	}
	return set
}

// labelsOf finds the labels of namespaces. One that no manifest has is known by its name.
func labelsOf(set istio.Set) func(namespace string) map[string]string {
	known := map[string]map[string]string{}
	for _, o := range set.Namespaces {
		known[o.Name] = o.Labels
	}
	return func(namespace string) map[string]string {
		out := map[string]string{nameLabel: namespace}
		for k, v := range known[namespace] {
			out[k] = v
		}
		return out
	}
}

// selectsLabels evaluates a label selector as Kubernetes does. An empty one selects everything.
func selectsLabels(s *meshconfig.LabelSelector, labels map[string]string) bool {
	if !mesh.Selects(s.GetMatchLabels(), labels) {
		return false
	}
	for _, e := range s.GetMatchExpressions() {
		value, has := labels[e.GetKey()]
		holds := false
		switch e.GetOperator() {
		case "In":
			holds = has && slices.Contains(e.GetValues(), value)
		case "NotIn":
			holds = !has || !slices.Contains(e.GetValues(), value)
		case "Exists":
			holds = has
		case "DoesNotExist":
			holds = !has
		}
		if !holds {
			return false
		}
	}
	return true
}

// entryVisibility is who sees a ServiceEntry: as MeshConfig's serviceEntryVisibility says, where that is for sidecars; else as its
// exportTo does.
func (c *compiler) entryVisibility(o *istio.Object[*networking.ServiceEntry]) mesh.Visibility {
	rules := c.meshConfig().GetServiceEntryVisibility()
	if !rules.GetApplyToSidecars() {
		return visibility(exportOr(o.Spec.GetExportTo(), c.meshConfig().GetDefaultServiceExportTo()), o.Namespace)
	}
	verdict := rules.GetDefaultVisibility()
	for _, p := range rules.GetPolicies() {
		labels := c.namespaceLabels(o.Namespace)
		if !slices.ContainsFunc(p.GetMatchingRules(), func(r *meshconfig.ServiceEntryVisibility_MatchRule) bool {
			return !selectsLabels(r.GetNamespaceSelector(), labels)
		}) {
			verdict = p.GetVisibility()
			break
		}
	}
	switch verdict {
	case meshconfig.ServiceEntryVisibility_NONE:
		return visibility([]string{"~"}, o.Namespace)
	case meshconfig.ServiceEntryVisibility_NAMESPACE:
		return visibility([]string{"."}, o.Namespace)
	}
	return nil
}
