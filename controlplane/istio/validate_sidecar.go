package istio

import (
	"fmt"
	"strings"
)

func validateSidecar(o *Object[sc]) Diagnostics {
	v := &validator{meta: &o.Meta}
	if s := o.Spec.WorkloadSelector; s != nil {
		v.labels("spec.workloadSelector.labels", s.Labels)
		if len(s.Labels) == 0 {
			v.trap("spec.workloadSelector", "an empty selector selects the whole namespace", "take it away if that is meant")
		}
	}
	rest := 0
	for i, e := range o.Spec.Egress {
		path := index("spec.egress", i)
		if len(e.Hosts) == 0 {
			v.fail(path+".hosts", "hosts is required", `write "*/*" for everything, "./*" for this namespace, "~/*" for nothing`)
		}
		for j, h := range e.Hosts {
			v.egressHost(index(path+".hosts", j), h)
		}
		if e.Port != nil {
			v.port(path+".port.number", e.Port.Number)
			v.portProtocol(path+".port.protocol", e.Port.Protocol)
		} else if rest++; rest > 1 {
			v.fail(path, "a second egress without port", "put its hosts into the first")
		}
	}
	return v.diags
}

// egressHost checks NAMESPACE/HOST, where the namespace may be ".", "*", "~" (nothing) or "~NAMESPACE" (all but).
func (v *validator) egressHost(path, h string) {
	ns, host, ok := strings.Cut(h, "/")
	switch {
	case !ok:
		v.fail(path, fmt.Sprintf("%q lacks a namespace", h), fmt.Sprintf("write %q for any namespace, %q for this one", "*/"+h, "./"+h))
	case ns != "*" && ns != "." && ns != "~" && !label(strings.TrimPrefix(ns, "~")):
		v.fail(path, fmt.Sprintf("%q is not a namespace", ns), `write ".", "*", "~" or a namespace before the '/'`)
	case !wildcard(host):
		v.fail(path, fmt.Sprintf("%q is not a host", host), "write a name, *.domain or * after the '/'")
	}
}
