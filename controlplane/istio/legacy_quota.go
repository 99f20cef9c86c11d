package istio

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// quotas converts each QuotaSpecBinding, with the QuotaSpecs, rules, instances and handlers that it leads to, to a RateLimit for each
// of its services. Mixer counted in one place for all proxies: scope global.
func (c *conversion) quotas() {
	var actions []action
	for _, a := range c.actions() {
		if kind, _ := adapter(a.handler); kind == "memquota" || kind == "redisquota" {
			actions = append(actions, a)
		}
	}
	for _, b := range c.of("QuotaSpecBinding") {
		var specs []*Object[*Legacy]
		for i, ref := range b.Spec.spec.get("quotaSpecs").list() {
			ns := cmp.Or(ref.get("namespace").str(), b.Namespace)
			all := c.of("QuotaSpec")
			if j := slices.IndexFunc(all, func(o *Object[*Legacy]) bool { return o.Namespace == ns && o.Name == ref.get("name").str() }); j >= 0 {
				specs = append(specs, all[j])
			} else {
				c.say(b, Error, index("spec.quotaSpecs", i), fmt.Sprintf("no QuotaSpec %s/%s is among the files", ns, ref.get("name").str()), "convert them together")
			}
		}
		services := b.Spec.spec.get("services").list()
		for i, s := range services {
			q := &quotaRun{c: c, b: b, limits: listing(b.Position), from: []*Object[*Legacy]{b}, s: serviceOf(s, b.Namespace)}
			if s.get("service").str() == "*" {
				q.s = service{}
			} else if q.s.name == "" {
				c.say(b, Error, index("spec.services", i), fmt.Sprintf("left out: %s is no Service of the mesh", q.s.host), "write a RateLimit with targetRefs of kind ServiceEntry")
				continue
			}
			for _, spec := range specs {
				q.spec(spec, actions)
			}
			q.write(len(services) > 1)
		}
	}
}

// quotaRun is what one service of a binding is limited to.
type quotaRun struct {
	c      *conversion
	b      *Object[*Legacy]
	s      service // no name: every workload
	limits *node
	from   []*Object[*Legacy]
}

func (q *quotaRun) spec(o *Object[*Legacy], actions []action) {
	for i, rule := range o.Spec.spec.get("rules").list() {
		path := index("spec.rules", i)
		if len(rule.get("match").list()) > 0 {
			q.c.say(o, Error, path+".match", "left out: a QuotaSpec's own conditions are not converted", "write match in a RateLimit")
			continue
		}
		for j, ref := range rule.get("quotas").list() {
			name, _, _ := strings.Cut(ref.get("quota").str(), ".")
			found := false
			for _, a := range actions {
				if a.instance.Name == name {
					found = true
					q.quota(a, ref.get("charge").str(), o)
				}
			}
			if !found {
				q.c.say(o, Error, index(path+".quotas", j), fmt.Sprintf("no rule among the files gives the quota %q to a memquota or redisquota", name), "convert them together")
			}
		}
	}
}

// quota adds the limits of one instance.
func (q *quotaRun) quota(a action, charge string, spec *Object[*Legacy]) {
	kind, params := adapter(a.handler)
	for i, def := range params.get("quotas").list() {
		if name, _, _ := strings.Cut(def.get("name").str(), "."); name != a.instance.Name {
			continue
		}
		l := mapping(def.pos).with("name", def.pos, text(def.pos, q.name(a.instance.Name)))
		match, never, ok := q.match(a.rule)
		if !ok || never {
			return
		}
		if len(match) > 0 {
			l.set("match", def.pos, listing(def.pos, match...))
		}
		path := index("spec.quotas", i)
		if a.handler.Kind == "handler" {
			path = index("spec.params.quotas", i)
		}
		if !q.numbers(l, a, def, path) {
			return
		}
		if n, err := strconv.Atoi(charge); err == nil && n > 1 {
			l.set("hitsAddend", def.pos, mapping(def.pos).with("number", def.pos, number(def.pos, n)))
		}
		algorithm := "tokenBucket" // FIXED_WINDOW, redisquota's default
		if kind == "memquota" || def.get("rateLimitAlgorithm").str() == "ROLLING_WINDOW" {
			algorithm = "slidingWindow"
		}
		l.set("algorithm", def.pos, text(def.pos, algorithm))
		l.set("scope", def.pos, text(def.pos, "global"))
		q.limits.items = append(q.limits.items, l)
		for _, o := range []*Object[*Legacy]{spec, a.rule, a.handler, a.instance} {
			if !slices.Contains(q.from, o) {
				q.from = append(q.from, o)
			}
		}
	}
}

// name is a limit's name that no other one has.
func (q *quotaRun) name(base string) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(q.limits.items, func(l *node) bool { return l.get("name").str() == name })
	}
	name := base
	for i := 2; taken(name); i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	return name
}

// numbers are the key, the amounts and the overrides. A dimension of the callee is the same for all requests of a service, and so says
// only which overrides are for it.
func (q *quotaRun) numbers(l *node, a action, def *node, path string) bool {
	_, in := adapter(a.instance)
	var names []string
	fixed := map[string]bool{}
	key := listing(def.pos)
	for _, d := range in.get("dimensions").fieldsOf() {
		part, constant := q.part(a, d)
		switch {
		case constant:
			fixed[d.key] = true
		case part != nil:
			names = append(names, d.key)
			key.items = append(key.items, part)
		}
	}
	amount, per := def.get("maxAmount"), def.get("validDuration")
	overrides := listing(def.pos)
	rest := false // an override was for all that those before it were not for
	for i, o := range def.get("overrides").list() {
		values, applies, known := q.override(names, fixed, o.get("dimensions"))
		duration := o.get("validDuration")
		if duration == nil {
			duration = per
		}
		switch {
		case !known:
			q.c.say(a.handler, Error, index(path+".overrides", i), "left out: it is for a dimension that a RateLimit has no key for", "tell these requests by a header, and write match")
		case !applies || o.get("maxAmount") == nil || duration == nil:
		case rest: // the first one that matches counted
		case !slices.ContainsFunc(values, func(v string) bool { return v != "*" }):
			amount, per, rest = o.get("maxAmount"), duration, true
		default:
			overrides.items = append(overrides.items, mapping(o.pos).with("key", o.pos, words(o.pos, values)).
				with("requests", o.pos, o.get("maxAmount").copyOf()).with("per", o.pos, duration.copyOf()))
		}
	}
	if amount == nil || per == nil {
		q.c.say(a.handler, Error, path, "left out: maxAmount and validDuration are required", "")
		return false
	}
	if len(key.items) > 0 {
		l.set("key", def.pos, key)
	}
	l.set("requests", def.pos, amount.copyOf())
	l.set("per", def.pos, per.copyOf())
	if len(overrides.items) > 0 {
		l.set("overrides", def.pos, overrides)
	}
	return true
}

func (n *node) fieldsOf() []field {
	if n == nil {
		return nil
	}
	return n.fields
}

// part is a dimension as a part of the key; constant: it is the same for every request of the service.
func (q *quotaRun) part(a action, d field) (part *node, constant bool) {
	pos := d.pos
	c, literal, ok := firstAttribute(d.value.str())
	yes := &node{kind: boolNode, pos: pos, text: "true"}
	switch {
	case literal:
		return nil, true
	case ok && c.attribute == "request.headers" && c.entry != "":
		return mapping(pos).with("header", pos, text(pos, c.entry)), false
	case c.attribute == "request.path":
		return mapping(pos).with("path", pos, yes), false
	case c.attribute == "request.method":
		return mapping(pos).with("method", pos, yes), false
	case c.attribute == "source.ip" || c.attribute == "origin.ip":
		return mapping(pos).with("sourceAddress", pos, yes), false
	case strings.HasPrefix(c.attribute, "destination.") && c.entry != "version":
		return nil, true
	case q.s.name == "" && strings.HasPrefix(c.attribute, "destination."):
		return nil, true
	}
	q.c.say(a.instance, Warning, join("spec.dimensions", d.key), fmt.Sprintf("a RateLimit has no key for %s: requests that differ in it are counted together", d.value.str()), "give callers a header that tells them apart")
	return nil, false
}

// override gives the values of the key that an override is for; applies: it is for this service; known: all its dimensions are known.
func (q *quotaRun) override(names []string, fixed map[string]bool, dimensions *node) (values []string, applies, known bool) {
	applies, known = true, true
	values = make([]string, len(names))
	for i := range values {
		values[i] = "*"
	}
	for _, d := range dimensions.fieldsOf() {
		i := slices.Index(names, d.key)
		switch {
		case i >= 0:
			values[i] = d.value.str()
		case fixed[d.key]:
			applies = applies && (d.value.str() == q.s.name || d.value.str() == q.s.host || d.value.str() == q.label("app"))
		default:
			known = false
		}
	}
	return values, applies, known || !applies
}

// label is a label by which the service selects its workloads.
func (q *quotaRun) label(name string) string {
	if s := q.c.services[q.s.namespace+"/"+q.s.name]; s != nil {
		return s.Spec.Spec.Selector[name]
	}
	return ""
}

// match is the rule's condition as VirtualService's; never: it is about another service.
func (q *quotaRun) match(rule *Object[*Legacy]) (out []*node, never, ok bool) {
	any, ok := parseMixer(rule.Spec.spec.get("match").str())
	if !ok {
		q.c.say(rule, Error, "spec.match", "left out: this condition cannot be said in a RateLimit", "write match by hand")
		return nil, false, false
	}
	pos := rule.At("spec.match")
	never = true
	for _, clauses := range any {
		m := mapping(pos)
		fits := true
		for _, cl := range clauses {
			switch {
			case always(cl):
			case strings.HasPrefix(cl.attribute, "destination.") && !cl.not && cl.op == "exact" && q.s.name != "":
				fits = fits && slices.Contains([]string{q.s.name, q.s.host, q.s.namespace, q.label(cl.entry)}, cl.value)
			case !matched(m, cl):
				q.c.say(rule, Error, "spec.match", fmt.Sprintf("left out: a RateLimit has no condition on %s like this one", cl.name()), "tell these requests by a header")
				return nil, false, false
			}
		}
		if !fits {
			continue
		}
		never = false
		if len(m.fields) == 0 { // every request of the service
			return nil, false, true
		}
		out = append(out, m)
	}
	return out, never, true
}

// matched adds a clause to a match of VirtualService; false if there is no such one.
func matched(m *node, cl clause) bool {
	pos := m.pos
	value := mapping(pos).with(cl.op, pos, text(pos, cl.value))
	if cl.op == "suffix" {
		value = mapping(pos).with("regex", pos, text(pos, ".*"+regexp.QuoteMeta(cl.value)))
	}
	switch {
	case cl.attribute == "request.headers" && cl.entry != "":
		in := "headers"
		if cl.not {
			in = "withoutHeaders"
		}
		m.child(in, pos).set(strings.ToLower(cl.entry), pos, value)
	case cl.not:
		return false
	case cl.attribute == "request.path" || cl.attribute == "request.url_path":
		m.set("uri", pos, value)
	case cl.attribute == "request.method":
		m.set("method", pos, value)
	case cl.attribute == "request.host":
		m.set("authority", pos, value)
	case cl.attribute == "request.scheme":
		m.set("scheme", pos, value)
	default:
		return false
	}
	return true
}

func (q *quotaRun) write(several bool) {
	if len(q.limits.items) == 0 {
		return
	}
	pos := q.b.Position
	t := today{apiVersion: mizzenGroup + "/v1alpha1", kind: "RateLimit", namespace: q.b.Namespace, name: q.b.Name}
	spec := mapping(pos)
	if q.s.name != "" {
		t.namespace = q.s.namespace
		if several {
			t.name += "-" + q.s.name
		}
		spec.set("targetRefs", pos, listing(pos, mapping(pos).with("kind", pos, text(pos, "Service")).with("name", pos, text(pos, q.s.name))))
	}
	q.c.add(t, spec.with("limits", q.limits.pos, q.limits), q.from...)
}
