package istio

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// destination is the DestinationRule that the labels of RouteRules and the DestinationPolicies of one service come to.
type destination struct {
	service
	home    string
	pos     Position
	from    []*Object[*Legacy]
	policy  *node // nil: none
	subsets []*subset
	names   map[string]bool // of subsets, a user's included
	users   []*userSubset
	callers []*Object[*Legacy] // DestinationPolicies for some callers only
}

// subset has name, labels and perhaps trafficPolicy.
type subset struct {
	name   string
	labels *node
	policy *node
}

// userSubset is one of a DestinationRule that the user wrote.
type userSubset struct {
	name   string
	labels map[string]string
}

// destination is what is gathered for a service; o is an object about it.
func (c *conversion) destination(s service, o *Object[*Legacy]) *destination {
	d := c.destinations[s.host]
	if d == nil {
		d = &destination{service: s, home: s.home(o.Namespace), pos: o.Position, names: map[string]bool{}}
		for _, dr := range c.set.DestinationRules {
			if fullName(dr.Spec.GetHost(), dr.Namespace) != s.host || dr.Spec.GetWorkloadSelector() != nil {
				continue
			}
			for _, sub := range dr.Spec.GetSubsets() {
				d.names[sub.GetName()] = true
				d.users = append(d.users, &userSubset{sub.GetName(), sub.GetLabels()})
			}
		}
		c.destinations[s.host] = d
	}
	return d
}

func (d *destination) of(o *Object[*Legacy]) {
	if !slices.Contains(d.from, o) {
		d.from = append(d.from, o)
	}
}

// subset names the endpoints with some labels: as the user's own DestinationRule does, or by a subset that is made.
func (d *destination) subset(labels *node, o *Object[*Legacy]) string {
	want := labels.strings()
	for _, u := range d.users {
		if maps.Equal(u.labels, want) {
			return u.name
		}
	}
	return d.made(labels, o).name
}

func (d *destination) made(labels *node, o *Object[*Legacy]) *subset {
	d.of(o)
	want := labels.strings()
	for _, s := range d.subsets {
		if maps.Equal(s.labels.strings(), want) {
			return s
		}
	}
	name := labelsName(want)
	for i, base := 2, name; d.names[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	d.names[name] = true
	s := &subset{name: name, labels: labels.copyOf()}
	d.subsets = append(d.subsets, s)
	return s
}

// labelsName is v1 for {version: v1}, else all that the labels say.
func labelsName(labels map[string]string) string {
	var parts []string
	for _, k := range sortedKeys(labels) {
		if len(labels) > 1 || k != "version" {
			parts = append(parts, k)
		}
		parts = append(parts, labels[k])
	}
	name := strings.ReplaceAll(objectName(strings.Join(parts, "-")), ".", "-")
	if len(name) > 60 {
		name = strings.Trim(name[:60], "-")
	}
	return name
}

// destinationPolicies gathers them by service. One about the same thing as another adds what that one leaves open.
func (c *conversion) destinationPolicies() {
	for _, o := range c.of("DestinationPolicy") {
		spec := o.Spec.spec
		to := spec.get("destination")
		if !to.present("name") && !to.present("service") {
			c.say(o, Error, "spec.destination", "destination.name is required", "")
			continue
		}
		d := c.destination(serviceOf(to, o.Namespace), o)
		if spec.present("source") {
			d.callers = append(d.callers, o)
			continue
		}
		c.policy(d, o)
	}
}

// policy merges a DestinationPolicy into the DestinationRule.
func (c *conversion) policy(d *destination, o *Object[*Legacy]) {
	d.of(o)
	policy := c.trafficPolicyOf(o)
	at := &d.policy
	if labels := o.Spec.spec.get("destination", "labels"); labels != nil && len(labels.fields) > 0 {
		at = &d.made(labels, o).policy
	}
	if *at == nil {
		*at = policy
		return
	}
	c.mergePolicy(o, *at, policy)
}

// mergePolicy adds what the first policy leaves open, and reports what both say differently.
func (c *conversion) mergePolicy(o *Object[*Legacy], into, from *node) {
	for _, f := range from.fields {
		old := into.get(f.key)
		switch {
		case old == nil:
			into.set(f.key, f.pos, f.value)
		case old.kind == mapNode && f.value.kind == mapNode:
			c.mergePolicy(o, old, f.value)
		case old.text != f.value.text:
			c.say(o, Warning, "spec", fmt.Sprintf("%s %s has no effect: the DestinationPolicy at %s says %s for the same endpoints", f.key, f.value.text, old.pos, old.text), "keep one")
		}
	}
}

// trafficPolicyOf translates loadBalancing and circuitBreaker.
func (c *conversion) trafficPolicyOf(o *Object[*Legacy]) *node {
	spec := o.Spec.spec
	out := mapping(o.Position)
	if lb := spec.below("loadBalancing"); lb != nil {
		if n := lb.get("name"); n.str() != "" {
			v := n.copyOf()
			if v.text == "LEAST_CONN" {
				v.text = "LEAST_REQUEST"
			}
			out.set("loadBalancer", spec.find("loadBalancing").pos, mapping(lb.pos).with("simple", lb.find("name").pos, v))
		}
		if lb.present("custom") {
			c.say(o, Warning, "spec.loadBalancing.custom", "has no effect: it was never given a meaning", "write an EnvoyFilter for the clusters")
		}
	}
	breaker := spec.get("circuitBreaker")
	if breaker.present("custom") {
		c.say(o, Warning, "spec.circuitBreaker.custom", "has no effect: it was never given a meaning", "write an EnvoyFilter for the clusters")
	}
	cb := breaker.get("simpleCb")
	if cb == nil || cb.kind != mapNode {
		return out
	}
	pool, tcp, http, outlier := mapping(cb.pos), mapping(cb.pos), mapping(cb.pos), mapping(cb.pos)
	tcp.carry("maxConnections", cb, "maxConnections")
	http.carry("http1MaxPendingRequests", cb, "httpMaxPendingRequests")
	http.carry("http2MaxRequests", cb, "httpMaxRequests")
	http.carry("maxRequestsPerConnection", cb, "httpMaxRequestsPerConnection")
	http.carry("maxRetries", cb, "httpMaxRetries")
	pool.nest("tcp", tcp)
	pool.nest("http", http)
	out.nest("connectionPool", pool)
	outlier.carry("consecutive5xxErrors", cb, "httpConsecutiveErrors")
	outlier.carry("interval", cb, "httpDetectionInterval")
	outlier.carry("baseEjectionTime", cb, "sleepWindow")
	outlier.carry("maxEjectionPercent", cb, "httpMaxEjectionPercent")
	out.nest("outlierDetection", outlier)
	return out
}

// destinationRules writes down what was gathered.
func (c *conversion) destinationRules() {
	for _, host := range sortedKeys(c.destinations) {
		d := c.destinations[host]
		if d.policy != nil && len(d.policy.fields) == 0 {
			d.policy = nil
		}
		if len(d.subsets) > 0 || d.policy != nil {
			c.add(networkingKind("DestinationRule", d.home, d.objectName()), d.spec(d.home, d.policy), d.from...)
		}
		for _, o := range d.callers {
			c.callerPolicy(d, o)
		}
	}
}

func (d *destination) spec(home string, policy *node) *node {
	spec := mapping(d.pos).with("host", d.pos, text(d.pos, d.in(home)))
	if policy != nil {
		spec.set("trafficPolicy", policy.pos, policy)
	}
	list := listing(d.pos)
	slices.SortFunc(d.subsets, func(a, b *subset) int { return strings.Compare(a.name, b.name) })
	for _, s := range d.subsets {
		item := mapping(s.labels.pos).with("name", s.labels.pos, text(s.labels.pos, s.name)).with("labels", s.labels.pos, s.labels.copyOf())
		if s.policy != nil && len(s.policy.fields) > 0 {
			item.set("trafficPolicy", s.policy.pos, s.policy)
		}
		list.items = append(list.items, item)
	}
	if len(list.items) > 0 {
		spec.set("subsets", d.pos, list)
	}
	return spec
}

// callerPolicy is a DestinationPolicy with a source: a DestinationRule for the workloads of that service alone. Such a one takes the
// place of the general one, so it repeats its subsets.
func (c *conversion) callerPolicy(d *destination, o *Object[*Legacy]) {
	src := o.Spec.spec.get("source")
	if labels := o.Spec.spec.get("destination", "labels"); labels != nil && len(labels.fields) > 0 || len(d.users) > 0 {
		c.say(o, Error, "spec.source", "left out: a policy for one caller and some endpoints only", "write a DestinationRule with workloadSelector for the caller and all subsets of the host")
		return
	}
	s := serviceOf(src, o.Namespace)
	if s.name == "" {
		c.say(o, Error, "spec.source", s.host+" is no Service of the mesh: which workloads are meant cannot be known", "write a DestinationRule with workloadSelector")
		return
	}
	match := map[string]string{}
	maps.Copy(match, c.selector(o, "spec.source", s.name, s.namespace))
	maps.Copy(match, src.get("labels").strings())
	spec := d.spec(s.namespace, c.trafficPolicyOf(o))
	if len(match) == 0 {
		return
	}
	spec.set("workloadSelector", src.pos, mapping(src.pos).with("matchLabels", src.pos, textMap(src.pos, match)))
	c.add(networkingKind("DestinationRule", s.namespace, d.objectName()+"-from-"+s.name), spec, o)
}
