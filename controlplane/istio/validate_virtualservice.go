package istio

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func validateVirtualService(o *Object[vs]) Diagnostics {
	v := &routeValidator{validator: validator{meta: &o.Meta}, spec: o.Spec}
	v.hosts()
	for i, g := range o.Spec.Gateways {
		if g == "" || g != "mesh" && strings.Count(g, "/") > 1 {
			v.fail(index("spec.gateways", i), fmt.Sprintf("%q is not a gateway", g), `write "mesh", a Gateway's name, or NAMESPACE/NAME`)
		}
	}
	v.exportTo(o.Spec.ExportTo, false)
	if len(o.Spec.Http) == 0 && len(o.Spec.Tls) == 0 && len(o.Spec.Tcp) == 0 {
		v.fail("spec", "no routes", "add http")
	}
	v.l4()
	for i, r := range o.Spec.Http {
		v.route(r, index("spec.http", i))
	}
	v.unreachable()
	return v.diags
}

// routeValidator is the validator of one VirtualService.
type routeValidator struct {
	validator
	spec vs
}

func (v *routeValidator) mesh() bool {
	return len(v.spec.Gateways) == 0 || slices.Contains(v.spec.Gateways, "mesh")
}

func (v *routeValidator) hosts() {
	if len(v.spec.Hosts) == 0 {
		v.delegate()
	}
	seen := map[string]bool{}
	for i, h := range v.spec.Hosts {
		path := index("spec.hosts", i)
		switch {
		case h == "*" && v.mesh():
			v.fail(path, `"*" is not allowed in the mesh`, "name the hosts, or bind the routes to a gateway with gateways")
		case !wildcard(h) && !isIP(h):
			v.fail(path, fmt.Sprintf("%q is not a host", h), "write a name, *.domain or an IP address, without scheme or port")
		case seen[h]:
			v.fail(path, fmt.Sprintf("%q stands twice", h), "keep one")
		}
		seen[h] = true
	}
}

func (v *routeValidator) route(r *networking.HTTPRoute, path string) {
	v.action(r, path)
	for i, m := range r.Match {
		v.match(m, index(path+".match", i))
	}
	v.headers(r.Headers, path+".headers")
	v.headerTwice(r, path)
	v.positive(path+".timeout", r.Timeout, "leave timeout out for none")
	v.retries(r, path+".retries")
	if r.Fault != nil {
		v.fault(r, path+".fault")
	}
	v.mirrors(r, path)
	if r.CorsPolicy != nil {
		v.cors(r.CorsPolicy, path+".corsPolicy")
	}
	if r.Rewrite != nil {
		v.rewrite(r, path+".rewrite")
	}
	if r.Redirect != nil {
		v.redirect(r, path+".redirect")
	}
	if d := r.DirectResponse; d != nil {
		v.direct(d, path+".directResponse")
	}
	v.destinations(r, path)
}

// action checks that there is exactly one of route, redirect and directResponse, and nothing that contradicts it.
func (v *routeValidator) action(r *networking.HTTPRoute, path string) {
	var actions []string
	add := func(name string, set bool) {
		if set {
			actions = append(actions, name)
		}
	}
	add("route", len(r.Route) > 0)
	add("redirect", r.Redirect != nil)
	add("directResponse", r.DirectResponse != nil)
	add("delegate", r.Delegate != nil)
	switch {
	case len(actions) == 0:
		v.fail(path, "no action", "add route, redirect or directResponse")
	case len(actions) > 1:
		v.fail(path+"."+actions[1], strings.Join(actions, " and ")+" exclude each other", "keep one")
	case actions[0] == "redirect" || actions[0] == "directResponse":
		if r.Fault != nil {
			v.fail(path+".fault", "a fault does not go with "+actions[0], "take one away")
		}
		if r.Rewrite != nil {
			v.fail(path+".rewrite", "a rewrite does not go with "+actions[0], "take one away")
		}
	}
}

func (v *routeValidator) destinations(r *networking.HTTPRoute, path string) {
	path += ".route"
	var sum int64
	for i, d := range r.Route {
		p := index(path, i)
		v.destination(d.Destination, p+".destination")
		v.headers(d.Headers, p+".headers")
		v.notNegative(p+".weight", d.Weight)
		sum += int64(d.Weight)
	}
	if len(r.Route) < 2 {
		return
	}
	v.weights(path, sum)
	if sum == 0 {
		v.fail(path, fmt.Sprintf("%d destinations and no weights", len(r.Route)), "give each destination a weight")
		return
	}
	for i, d := range r.Route {
		if p := index(path, i); d.Weight == 0 && !v.has(p+".weight") {
			v.trap(p, "a destination without weight beside others with one gets nothing", "add a weight, or take it away")
		}
	}
}

func (v *validator) destination(d *networking.Destination, path string) {
	if d == nil {
		v.fail(path, "destination is required", "add destination: {host: NAME}")
		return
	}
	if v.required(path+".host", d.Host) && !hostname(d.Host) && !isIP(d.Host) {
		v.fail(path+".host", fmt.Sprintf("%q is not a host", d.Host), "write a service's name, without scheme or port")
	}
	if d.Subset != "" && !subsetName(d.Subset) {
		v.fail(path+".subset", fmt.Sprintf("%q is not a subset's name", d.Subset), "")
	}
	if d.Port != nil {
		v.port(path+".port.number", d.Port.Number)
	}
}

// subsetName is a label of at most 63 characters; upper case and dots pass, as version labels become names.
func subsetName(s string) bool { return s != "" && labelValue(s) }

func (v *validator) headers(h *networking.Headers, path string) {
	side := func(ops *networking.Headers_HeaderOperations, path string, authority bool) {
		check := func(name, path string) {
			if authority && name == ":authority" {
				return
			}
			if !headerName(name) {
				v.fail(path, fmt.Sprintf("%q is not a header's name", name), "")
			}
		}
		for _, name := range sortedKeys(ops.GetSet()) {
			check(name, join(path+".set", name))
			v.headerValue(join(path+".set", name), name, ops.Set[name])
		}
		for _, name := range sortedKeys(ops.GetAdd()) {
			check(name, join(path+".add", name))
			v.headerValue(join(path+".add", name), name, ops.Add[name])
		}
		for i, name := range ops.GetRemove() {
			check(name, index(path+".remove", i))
		}
	}
	side(h.GetRequest(), path+".request", true)
	side(h.GetResponse(), path+".response", false)
}

func (v *routeValidator) mirrors(r *networking.HTTPRoute, path string) {
	if r.Mirror != nil && len(r.Mirrors) > 0 {
		v.fail(path+".mirrors", "mirror and mirrors exclude each other", "keep mirrors")
	}
	if r.Mirror != nil {
		v.destination(r.Mirror, path+".mirror")
	}
	if r.MirrorPercentage != nil {
		v.percent(path+".mirrorPercentage.value", r.MirrorPercentage)
		if r.Mirror == nil {
			v.trap(path+".mirrorPercentage", "has no effect without mirror", "add mirror: {host: NAME}")
		}
	}
	for i, m := range r.Mirrors {
		p := index(path+".mirrors", i)
		v.destination(m.Destination, p+".destination")
		v.percent(p+".percentage.value", m.Percentage)
	}
}
