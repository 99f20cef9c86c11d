package localmesh

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// door is a host ("" any) and a path that a VirtualService takes in at a gateway; one for any host is preferred.
func door(set istio.Set) (host, path string) {
	path = "/"
	for _, o := range set.VirtualServices {
		if !slices.ContainsFunc(o.Spec.GetGateways(), func(g string) bool { return g != "mesh" }) || len(o.Spec.GetHosts()) == 0 {
			continue
		}
		at := open(o.Spec.GetHttp())
		switch h := o.Spec.GetHosts()[0]; {
		case at == "":
		case h == "*":
			return "", at
		case host == "":
			host, path = strings.Replace(h, "*", "www", 1), at
		}
	}
	return host, path
}

// open is a path that one of the routes takes whatever else the request has; "" if there is none.
func open(routes []*networking.HTTPRoute) string {
	for _, r := range routes {
		if len(r.GetMatch()) == 0 {
			return "/"
		}
		for _, m := range r.GetMatch() {
			if m.GetMethod() != nil || len(m.GetHeaders())+len(m.GetQueryParams()) > 0 {
				continue
			}
			switch u := m.GetUri().GetMatchType().(type) {
			case *networking.StringMatch_Exact:
				return u.Exact
			case *networking.StringMatch_Prefix:
				return u.Prefix
			}
		}
	}
	return ""
}

// sample is a call from one workload to another's service.
func sample(s *state.State, set istio.Set) (from, url string) {
	for _, w := range s.Workloads {
		for _, to := range s.Workloads {
			if w.Proxy == "" || to.Namespace != w.Namespace || to.Labels["app"] == w.Labels["app"] {
				continue
			}
			if host := serviceOf(set, to); host != "" {
				return w.Name, "http://" + host + "/"
			}
		}
	}
	return "", ""
}

// serviceOf is the name and HTTP port of a service that selects the workload; "" if there is none.
func serviceOf(set istio.Set, w state.Workload) string {
	for _, o := range set.Services {
		if o.Namespace != w.Namespace || o.Spec == nil || !selects(o.Spec.Spec.Selector, w.Labels) {
			continue
		}
		for _, p := range o.Spec.Spec.Ports {
			if speaksHTTP(p) {
				return fmt.Sprintf("%s:%d", o.Name, p.Port)
			}
		}
	}
	return ""
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// speaksHTTP goes by the port's name, as Istio does; one without a name is taken for HTTP.
func speaksHTTP(p corev1.ServicePort) bool {
	word, _, _ := strings.Cut(p.Name, "-")
	return word == "" || word == "http" || word == "http2" || word == "web"
}
