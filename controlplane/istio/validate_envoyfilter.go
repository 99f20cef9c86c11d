package istio

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/envoyapi"
	networking "istio.io/api/networking/v1alpha3"
)

// ProxyVersion is what Mizzen's own proxies say in metadata ISTIO_VERSION.
const ProxyVersion = "mizzen"

// Operations of an EnvoyFilter's patch by what it is applied to, as Istio has them.
const (
	mergeOperations  = "MERGE MERGE_AND_REPLACE_LIST "
	listOperations   = mergeOperations + "ADD REMOVE "
	orderOperations  = listOperations + "INSERT_BEFORE INSERT_AFTER INSERT_FIRST "
	filterOperations = orderOperations + "REPLACE "
)

func operationsOf(applyTo networking.EnvoyFilter_ApplyTo) []string {
	words := listOperations
	switch applyTo {
	case networking.EnvoyFilter_NETWORK_FILTER, networking.EnvoyFilter_HTTP_FILTER, networking.EnvoyFilter_LISTENER_FILTER:
		words = filterOperations
	case networking.EnvoyFilter_HTTP_ROUTE:
		words = orderOperations
	case networking.EnvoyFilter_ROUTE_CONFIGURATION:
		words = mergeOperations
	case networking.EnvoyFilter_EXTENSION_CONFIG:
		words = "ADD"
	}
	return strings.Fields(words)
}

// operationCode is the code of an operation where it has no meaning: istioctl has one for each of three.
func operationCode(op networking.EnvoyFilter_Patch_Operation) string {
	switch op {
	case networking.EnvoyFilter_Patch_REPLACE:
		return CodeReplace
	case networking.EnvoyFilter_Patch_ADD:
		return CodeAdd
	case networking.EnvoyFilter_Patch_REMOVE:
		return CodeRemove
	}
	return CodeSchema
}

func validateEnvoyFilter(o *Object[ef]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if s := o.Spec.GetWorkloadSelector(); s != nil {
		v.labels("spec.workloadSelector.labels", s.GetLabels())
	}
	if len(o.Spec.GetConfigPatches()) == 0 {
		v.trap("spec", "without configPatches it does nothing", "")
	}
	for i, p := range o.Spec.GetConfigPatches() {
		v.patch(index("spec.configPatches", i), p)
	}
	return v.diags
}

func (v *validator) patch(path string, p *networking.EnvoyFilter_EnvoyConfigObjectPatch) {
	if p.GetApplyTo() == networking.EnvoyFilter_INVALID {
		v.fail(path, "applyTo is required", "")
		return
	}
	op := p.GetPatch().GetOperation()
	if op == networking.EnvoyFilter_Patch_INVALID {
		v.fail(path+".patch", "operation is required", "")
		return
	}
	if allowed := operationsOf(p.GetApplyTo()); !slices.Contains(allowed, op.String()) {
		v.add(operationCode(op), Error, path+".patch.operation", fmt.Sprintf("%s has no meaning for %s", op, p.GetApplyTo()), "write "+strings.Join(allowed, ", "))
		return
	}
	if c := p.GetPatch().GetFilterClass(); c != networking.EnvoyFilter_Patch_UNSPECIFIED &&
		(p.GetApplyTo() != networking.EnvoyFilter_HTTP_FILTER || op != networking.EnvoyFilter_Patch_ADD) {
		v.trap(path+".patch.filterClass", "it has an effect on ADD of an HTTP_FILTER only", "")
	}
	v.patchMatch(path+".match", p)
	v.patchValue(path+".patch", p)
}

// patchMatch checks what a patch looks for.
func (v *validator) patchMatch(path string, p *networking.EnvoyFilter_EnvoyConfigObjectPatch) {
	m := p.GetMatch()
	if re := m.GetProxy().GetProxyVersion(); re != "" {
		if r, err := regexp.Compile(re); err != nil {
			v.fail(path+".proxy.proxyVersion", "not a regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "")
		} else if !r.MatchString(ProxyVersion) {
			v.trap(path+".proxy.proxyVersion", fmt.Sprintf("Mizzen's own proxies say version %q, which it does not match: they are not patched", ProxyVersion), "leave it out")
		}
	}
	want := ""
	switch p.GetApplyTo() {
	case networking.EnvoyFilter_CLUSTER:
		want = "cluster"
	case networking.EnvoyFilter_ROUTE_CONFIGURATION, networking.EnvoyFilter_VIRTUAL_HOST, networking.EnvoyFilter_HTTP_ROUTE:
		want = "routeConfiguration"
	default:
		want = "listener"
	}
	for _, key := range []string{"listener", "routeConfiguration", "cluster"} {
		if key != want && v.has(path+"."+key) {
			v.fail(path+"."+key, fmt.Sprintf("%s is not found by a %s", p.GetApplyTo(), key), "write "+want)
		}
	}
	v.patchTarget(path, p)
}

// routerFilter ends every chain of HTTP filters: Envoy takes none without it, and nothing after it.
const routerFilter = "envoy.filters.http.router"

// patchTarget asks for the filter that an operation is about.
func (v *validator) patchTarget(path string, p *networking.EnvoyFilter_EnvoyConfigObjectPatch) {
	if p.GetApplyTo() == networking.EnvoyFilter_HTTP_FILTER && p.GetMatch().GetListener().GetFilterChain().GetFilter().GetSubFilter().GetName() == routerFilter {
		switch op := p.GetPatch().GetOperation(); op {
		case networking.EnvoyFilter_Patch_INSERT_AFTER:
			v.fail(path, routerFilter+" is the last filter: Envoy takes none after it", "write INSERT_BEFORE")
		case networking.EnvoyFilter_Patch_REMOVE:
			v.fail(path, routerFilter+" is what sends requests on: Envoy takes no chain without it", "")
		}
	}
	switch op := p.GetPatch().GetOperation(); op {
	case networking.EnvoyFilter_Patch_MERGE, networking.EnvoyFilter_Patch_MERGE_AND_REPLACE_LIST, networking.EnvoyFilter_Patch_REMOVE, networking.EnvoyFilter_Patch_REPLACE:
	default:
		return
	}
	l := p.GetMatch().GetListener()
	name, at := "-", ""
	switch p.GetApplyTo() {
	case networking.EnvoyFilter_NETWORK_FILTER:
		name, at = l.GetFilterChain().GetFilter().GetName(), ".listener.filterChain.filter.name"
	case networking.EnvoyFilter_HTTP_FILTER:
		name, at = l.GetFilterChain().GetFilter().GetSubFilter().GetName(), ".listener.filterChain.filter.subFilter.name"
	case networking.EnvoyFilter_LISTENER_FILTER:
		name, at = l.GetListenerFilter(), ".listener.listenerFilter"
	}
	if name == "" {
		v.fail(path, fmt.Sprintf("%s must say which filter", p.GetPatch().GetOperation()), "write "+strings.TrimPrefix(at, "."))
	}
}

// patchValue reads the value as Envoy would. What is added stands for itself and must be whole; what is merged need not.
func (v *validator) patchValue(path string, p *networking.EnvoyFilter_EnvoyConfigObjectPatch) {
	m := envoyapi.Message(p.GetApplyTo().String())
	value := p.GetPatch().GetValue()
	op := p.GetPatch().GetOperation()
	switch {
	case m == nil: // the support table has refused it
		return
	case op == networking.EnvoyFilter_Patch_REMOVE:
		if value != nil {
			v.trap(path+".value", "REMOVE needs no value", "take it away")
		}
		return
	case len(value.GetFields()) == 0:
		v.fail(path, fmt.Sprintf("%s needs a value", op), "")
		return
	}
	path += ".value"
	problems := envoyapi.Decode(m, value.AsMap())
	for _, b := range problems {
		at := path
		for _, step := range b.Path {
			switch s := step.(type) {
			case int:
				at = index(at, s)
			case string:
				at = join(at, s)
			}
		}
		v.fail(at, b.Message, b.Fix)
	}
	if merges := op == networking.EnvoyFilter_Patch_MERGE || op == networking.EnvoyFilter_Patch_MERGE_AND_REPLACE_LIST; len(problems) > 0 || merges {
		return
	}
	if why := envoyapi.Validate(m); why != "" {
		v.fail(path, "Envoy would refuse it: "+why, "")
	}
}
