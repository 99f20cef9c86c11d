package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// routeRules makes one VirtualService of the RouteRules of a destination, the highest precedence first.
func (c *conversion) routeRules() {
	groups := map[string][]*Object[*Legacy]{}
	for _, o := range c.of("RouteRule") {
		s := serviceOf(o.Spec.spec.get("destination"), o.Namespace)
		if !o.Spec.spec.present("destination", "name") && !o.Spec.spec.present("destination", "service") {
			c.say(o, Error, "spec.destination", "destination.name is required", "")
			continue
		}
		groups[s.host] = append(groups[s.host], o)
	}
	for _, host := range sortedKeys(groups) {
		rules := groups[host]
		slices.SortStableFunc(rules, func(a, b *Object[*Legacy]) int { // as Istio 0.8: of one precedence, by namespace and name reversed in its key
			return cmp.Or(cmp.Compare(precedence(b), precedence(a)), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		s := serviceOf(rules[0].Spec.spec.get("destination"), rules[0].Namespace)
		home := s.home(rules[0].Namespace)
		if vs := c.virtualServiceOf(host); vs != nil {
			for _, o := range rules {
				c.say(o, Warning, "", fmt.Sprintf("has no effect: VirtualService %s/%s at %s has the host %s", vs.Namespace, vs.Name, vs.Position, host), "take one of them away")
			}
			continue
		}
		pos := rules[0].Position
		http := listing(pos)
		for _, o := range rules {
			r := &routeRule{c: c, o: o, spec: o.Spec.spec, own: s, home: home}
			if h := r.http(); h != nil {
				http.items = append(http.items, h)
			}
		}
		if len(http.items) == 0 {
			continue
		}
		spec := mapping(pos).with("hosts", pos, words(pos, []string{s.in(home)})).with("http", pos, http)
		c.add(networkingKind("VirtualService", home, s.objectName()), spec, rules...)
	}
}

func precedence(o *Object[*Legacy]) int {
	n, err := strconv.Atoi(o.Spec.spec.get("precedence").str())
	if err != nil {
		return 0
	}
	return n
}

// virtualServiceOf is a user's VirtualService of the mesh for a host, which in Istio too counted before RouteRules.
func (c *conversion) virtualServiceOf(host string) *Meta {
	for _, o := range c.set.VirtualServices {
		if gs := o.Spec.GetGateways(); len(gs) > 0 && !slices.Contains(gs, "mesh") {
			continue
		}
		for _, h := range o.Spec.GetHosts() {
			if fullName(h, o.Namespace) == host {
				return &o.Meta
			}
		}
	}
	return nil
}

// fullName is a host as compile resolves it.
func fullName(host, namespace string) string {
	if strings.Contains(host, ".") || host == "*" {
		return host
	}
	return host + "." + namespace + "." + clusterDomain
}

// routeRule is one RouteRule on its way into http of a VirtualService.
type routeRule struct {
	c    *conversion
	o    *Object[*Legacy]
	spec *node
	own  service // its destination
	home string  // namespace of the VirtualService
}

func (r *routeRule) http() *node {
	h := mapping(r.o.Position)
	h.set("name", r.o.Position, text(r.o.Position, r.o.Name))
	if !r.match(h) {
		return nil
	}
	switch {
	case r.spec.present("redirect"):
		h.carry("redirect", r.spec, "redirect")
	default:
		r.routes(h)
		h.carry("rewrite", r.spec, "rewrite")
	}
	r.timeout(h)
	r.retries(h)
	r.fault(h)
	if m := r.spec.get("mirror"); r.spec.present("mirror") {
		h.set("mirror", r.spec.find("mirror").pos, r.destination(m, m.get("labels"), "spec.mirror"))
	}
	if h.carry("corsPolicy", r.spec, "corsPolicy") {
		(&object{meta: r.o.Meta}).allowOrigin(h, "")
	}
	if f := r.spec.find("appendHeaders"); r.spec.present("appendHeaders") {
		h.child("headers", f.pos).child("request", f.pos).carry("add", r.spec, "appendHeaders")
	}
	if f := r.spec.find("l4Fault"); f != nil {
		r.c.say(r.o, Warning, "spec.l4Fault", "has no effect: Istio never injected faults into TCP", "take it away")
	}
	if f := r.spec.find("websocketUpgrade"); f != nil {
		r.c.say(r.o, Info, "spec.websocketUpgrade", "obsolete: WebSockets are always allowed", "take it away")
	}
	return h
}

// match turns the one match of a RouteRule into a list; false if it cannot be said.
func (r *routeRule) match(h *node) bool {
	m := r.spec.get("match")
	if !r.spec.present("match") {
		return true
	}
	for _, l4 := range []string{"tcp", "udp"} {
		if m.present(l4) {
			r.c.say(r.o, Error, "spec.match."+l4, "left out: a match on addresses of a TCP connection is no part of HTTP routing", "write a VirtualService with tcp: [{match: [{destinationSubnets}], route}]")
			return false
		}
	}
	out := mapping(m.pos)
	r.source(out, m)
	headers := mapping(m.pos)
	if hs := m.get("request", "headers"); hs != nil {
		headers.pos = hs.pos
		for _, f := range hs.fields {
			switch f.key {
			case "uri", "scheme", "method", "authority":
				out.set(f.key, f.pos, f.value.copyOf())
			default:
				headers.set(f.key, f.pos, f.value.copyOf())
			}
			if f.value.present("suffix") {
				r.c.say(r.o, Error, join("spec.match.request.headers", f.key), "suffix was not known to RouteRule", `write regex: ".*SUFFIX"`)
				return false
			}
		}
	}
	out.nest("headers", headers)
	if len(out.fields) > 0 {
		h.set("match", r.spec.find("match").pos, listing(m.pos, out))
	}
	return true
}

// source says by labels what v1alpha2 said by the caller's service.
func (r *routeRule) source(out, match *node) {
	src := match.get("source")
	if !match.present("source") {
		return
	}
	pos := match.find("source").pos
	labels := mapping(src.pos)
	if src.present("name") || src.present("service") {
		s := serviceOf(src, r.o.Namespace)
		if s.name == "" {
			r.c.say(r.o, Error, "spec.match.source", fmt.Sprintf("%s is no Service of the mesh: which workloads are meant cannot be known", s.host), "write match.sourceLabels")
		}
		own := r.c.selector(r.o, "spec.match.source", s.name, s.namespace)
		labels = textMap(src.pos, own)
		out.set("sourceNamespace", pos, text(src.pos, s.namespace))
	}
	if l := src.get("labels"); l != nil {
		for _, f := range l.fields {
			labels.set(f.key, f.pos, f.value.copyOf())
		}
	}
	out.nest("sourceLabels", labels)
}

// routes are the weighted destinations; without any, all goes to the rule's own.
func (r *routeRule) routes(h *node) {
	pos := r.spec.find("destination").pos
	out := listing(pos)
	if f := r.spec.find("route"); f != nil {
		pos, out.pos = f.pos, f.value.pos
	}
	for i, item := range r.spec.get("route").list() {
		route := mapping(item.pos)
		to := r.spec.get("destination")
		if item.present("destination") {
			to = item.get("destination")
		}
		labels := item.get("labels")
		if labels == nil {
			labels = to.get("labels")
		}
		d := r.destination(to, labels, index("spec.route", i))
		place := item.pos
		if f := item.find("labels"); f != nil {
			place = f.pos
		}
		route.set("destination", place, d)
		route.carry("weight", item, "weight")
		out.items = append(out.items, route)
	}
	if len(out.items) == 0 {
		d := r.destination(r.spec.get("destination"), r.spec.get("destination", "labels"), "spec.destination")
		out.items = append(out.items, mapping(pos).with("destination", pos, d))
	}
	if len(out.items) == 1 { // a weight of 0 beside nothing meant all
		if w := out.items[0].get("weight"); w != nil && w.text == "0" {
			out.items[0].remove("weight")
		}
	}
	h.set("route", pos, out)
}

// destination is {host, subset}; labels become a subset of the host's DestinationRule.
func (r *routeRule) destination(to, labels *node, path string) *node {
	s := r.own
	if to.present("name") || to.present("service") {
		s = serviceOf(to, r.o.Namespace)
	}
	d := mapping(to.pos).with("host", to.pos, text(to.pos, s.in(r.home)))
	if labels != nil && len(labels.fields) > 0 {
		d.set("subset", labels.pos, text(labels.pos, r.c.destination(s, r.o).subset(labels, r.o)))
	}
	return d
}

func (r *routeRule) timeout(h *node) {
	t := r.spec.get("httpReqTimeout")
	if f := r.spec.find("httpReqTimeout"); f != nil && t.present("simpleTimeout", "timeout") {
		h.set("timeout", f.pos, t.get("simpleTimeout", "timeout").copyOf())
	}
	r.unheard(t, "spec.httpReqTimeout", "simpleTimeout")
}

// retries adds the conditions that were fixed in Istio 0.8; today's are others, and an answered 500 is not among them.
func (r *routeRule) retries(h *node) {
	t := r.spec.get("httpReqRetries")
	if simple := t.get("simpleRetry"); simple != nil && simple.kind == mapNode {
		out := mapping(simple.pos)
		out.carry("attempts", simple, "attempts")
		out.carry("perTryTimeout", simple, "perTryTimeout")
		out.set("retryOn", simple.pos, text(simple.pos, "5xx,connect-failure,refused-stream"))
		h.set("retries", r.spec.find("httpReqRetries").pos, out)
	}
	r.unheard(t, "spec.httpReqRetries", "simpleRetry")
}

// unheard reports what Istio 0.8 took and did nothing with.
func (r *routeRule) unheard(t *node, path, simple string) {
	if t.present("custom") {
		r.c.say(r.o, Warning, path+".custom", "has no effect: it was never given a meaning", "take it away")
	}
	if t.present(simple, "overrideHeaderName") {
		r.c.say(r.o, Warning, path+"."+simple+".overrideHeaderName", "has no effect: it was never given a meaning", "take it away")
	}
}

func (r *routeRule) fault(h *node) {
	f := r.spec.find("httpFault")
	if f == nil || f.value.kind != mapNode {
		return
	}
	out := mapping(f.value.pos)
	if d := f.value.below("delay"); d != nil {
		delay := mapping(d.pos)
		percentOf(delay, d)
		delay.carry("fixedDelay", d, "fixedDelay")
		delay.carry("exponentialDelay", d, "exponentialDelay")
		out.set("delay", f.value.find("delay").pos, delay)
		r.unheard(f.value, "spec.httpFault", "delay")
	}
	if a := f.value.below("abort"); a != nil {
		abort := mapping(a.pos)
		percentOf(abort, a)
		abort.carry("httpStatus", a, "httpStatus")
		abort.carry("grpcStatus", a, "grpcStatus")
		abort.carry("http2Error", a, "http2Error")
		out.set("abort", f.value.find("abort").pos, abort)
		r.unheard(f.value, "spec.httpFault", "abort")
	}
	h.nest("fault", out)
}

// percentOf copies percent as {value}.
func percentOf(to, from *node) {
	if f := from.find("percent"); f != nil && f.value.kind == numberNode {
		to.set("percentage", f.pos, mapping(f.value.pos).with("value", f.value.pos, f.value.copyOf()))
	}
}
