package analyze

import (
	"fmt"
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	networking "istio.io/api/networking/v1alpha3"
)

type patch = networking.EnvoyFilter_EnvoyConfigObjectPatch

// envoyFilters finds patches that look for what another EnvoyFilter of the same priority brings: which comes first then depends on
// their ages and names.
func (a *analyzer) envoyFilters() {
	for _, o := range a.set.EnvoyFilters {
		for i, p := range o.Spec.GetConfigPatches() {
			name := wanted(p)
			if name == "" {
				continue
			}
			for _, other := range a.set.EnvoyFilters {
				if other == o || other.Namespace != o.Namespace || other.Spec.GetPriority() != o.Spec.GetPriority() || !slices.ContainsFunc(other.Spec.GetConfigPatches(),
					func(q *patch) bool { return brings(q, p.GetApplyTo()) == name }) {
					continue
				}
				code := codeRelative
				if p.GetMatch().GetProxy().GetProxyVersion() != "" {
					code = codeRelativeProxy
				}
				a.report(&o.Meta, fmt.Sprintf("spec.configPatches[%d]", i), istio.Warning, code,
					fmt.Sprintf("%s looks for %s, which %s brings at the same priority: it finds it only if that one is older, or its name comes first",
						p.GetPatch().GetOperation(), name, objectAt(&other.Meta)),
					"give this one a greater priority")
				break
			}
		}
	}
}

// wanted is the filter that a patch must find; "": none.
func wanted(p *patch) string {
	switch p.GetPatch().GetOperation() {
	case networking.EnvoyFilter_Patch_ADD, networking.EnvoyFilter_Patch_INSERT_FIRST:
		return ""
	}
	f := p.GetMatch().GetListener().GetFilterChain().GetFilter()
	switch p.GetApplyTo() {
	case networking.EnvoyFilter_HTTP_FILTER:
		return f.GetSubFilter().GetName()
	case networking.EnvoyFilter_NETWORK_FILTER:
		return f.GetName()
	case networking.EnvoyFilter_LISTENER_FILTER:
		return p.GetMatch().GetListener().GetListenerFilter()
	}
	return ""
}

// brings is the filter that a patch adds; "": none.
func brings(p *patch, to networking.EnvoyFilter_ApplyTo) string {
	switch p.GetPatch().GetOperation() {
	case networking.EnvoyFilter_Patch_ADD, networking.EnvoyFilter_Patch_INSERT_FIRST, networking.EnvoyFilter_Patch_INSERT_BEFORE,
		networking.EnvoyFilter_Patch_INSERT_AFTER, networking.EnvoyFilter_Patch_REPLACE:
	default:
		return ""
	}
	if p.GetApplyTo() != to {
		return ""
	}
	return p.GetPatch().GetValue().GetFields()["name"].GetStringValue()
}
