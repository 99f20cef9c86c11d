package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mixer's policies: denier and listchecker with their rules become AuthorizationPolicies, quotas RateLimits (legacy_quota.go). Its
// adapters for telemetry have no object of today's: what they did, proxies do by themselves or Telemetry says.

// mixerOthers are the kinds of adapters and templates, which until Istio 1.0 were kinds of their own.
func mixerOthers() []string {
	return append([]string{"denier", "listchecker", "checknothing", "listentry"}, mixerSilent()...)
}

// mixerSilent are those that neither let through nor refuse anything.
func mixerSilent() []string {
	return strings.Fields(`logentry metric tracespan stdio prometheus statsd fluentd stackdriver zipkin circonus dogstatsd cloudwatch
kubernetes kubernetesenv reportnothing noop apikey authorization opa rbac edge bypass adapter template attributemanifest HTTPAPISpec HTTPAPISpecBinding`)
}

// action is one handler of a rule with one of its instances.
type action struct {
	rule     *Object[*Legacy]
	handler  *Object[*Legacy]
	instance *Object[*Legacy]
}

// adapter is what a handler runs, params its settings: of the kind itself until 1.0, of handler since.
func adapter(o *Object[*Legacy]) (kind string, params *node) {
	if o.Kind != "handler" && o.Kind != "instance" {
		return o.Kind, o.Spec.spec
	}
	spec := o.Spec.spec
	for _, key := range []string{"compiledAdapter", "compiledTemplate", "adapter", "template"} {
		if k := spec.get(key).str(); k != "" {
			kind = k
		}
	}
	if params = spec.get("params"); params == nil {
		params = mapping(o.Position)
	}
	return strings.ToLower(kind), params
}

// mixerObject finds what a rule names: name.kind, name.kind.namespace, or since 1.0 name or name.namespace.
func (c *conversion) mixerObject(reference, namespace string, side string) *Object[*Legacy] {
	parts := strings.Split(reference, ".")
	for _, o := range c.set.Legacy {
		if o.APIVersion[:strings.IndexByte(o.APIVersion+"/", '/')] != configGroup || o.Name != parts[0] {
			continue
		}
		var rest []string
		switch {
		case len(parts) > 1 && parts[1] == o.Kind:
			rest = parts[2:]
		case o.Kind == side:
			rest = parts[1:]
		default:
			continue
		}
		if home := namespace; o.Namespace == home && len(rest) == 0 || len(rest) > 0 && rest[0] == o.Namespace {
			return o
		}
	}
	return nil
}

// actions are those of every rule.
func (c *conversion) actions() []action {
	var out []action
	for _, r := range c.of("rule") {
		for i, a := range r.Spec.spec.get("actions").list() {
			path := index("spec.actions", i)
			h := c.mixerObject(a.get("handler").str(), r.Namespace, "handler")
			if h == nil {
				c.say(r, Error, path+".handler", fmt.Sprintf("no handler %q is among the files", a.get("handler").str()), "convert them together")
				continue
			}
			for j, name := range a.get("instances").list() {
				in := c.mixerObject(name.str(), r.Namespace, "instance")
				if in == nil {
					c.say(r, Error, index(path+".instances", j), fmt.Sprintf("no instance %q is among the files", name.str()), "convert them together")
					continue
				}
				out = append(out, action{r, h, in})
			}
		}
	}
	return out
}

// mixer converts rules that refuse, and tells what has become of everything else.
func (c *conversion) mixer() {
	for _, a := range c.actions() {
		switch kind, params := adapter(a.handler); kind {
		case "denier":
			c.refuse(a, nil)
		case "listchecker":
			c.listchecker(a, params)
		case "memquota", "redisquota":
		default:
			c.say(a.rule, Info, "", fmt.Sprintf("%s has no counterpart: metrics, spans and access logs are made by the proxies themselves", kind), "write a Telemetry for what they should tell")
		}
	}
	for _, o := range c.of(append(mixerOthers(), "handler", "instance", "rule", "quota", "memquota", "redisquota", "QuotaSpec", "QuotaSpecBinding")...) {
		if len(c.became[o.Ref]) > 0 || slices.ContainsFunc(c.diags, func(d Diagnostic) bool { return d.Object == o.Ref }) {
			continue
		}
		kind, _ := adapter(o)
		switch {
		case kind == "opa" || kind == "rbac" || kind == "apikey" || kind == "authorization":
			c.say(o, Error, "", kind+" is no longer in Istio: Mixer is gone, and nothing is checked", "write an AuthorizationPolicy of action CUSTOM with an extension provider")
		case slices.Contains(mixerSilent(), kind):
			c.say(o, Info, "", kind+" has no counterpart: metrics, spans and access logs are made by the proxies themselves", "write a Telemetry for what they should tell")
		default:
			c.say(o, Warning, "", o.Kind+" is no longer in Istio, and no rule or QuotaSpecBinding among the files puts it into force", "convert all of them together")
		}
	}
}

// listchecker refuses what is, or for a whitelist what is not, in a list.
func (c *conversion) listchecker(a action, params *node) {
	_, in := adapter(a.instance)
	value, literal, ok := firstAttribute(in.get("value").str())
	list := params.get("overrides")
	switch {
	case params.present("providerUrl") || len(list.list()) == 0:
		c.say(a.handler, Error, "spec", "left out: a list that is not written here cannot be converted", "write an AuthorizationPolicy with the values")
		return
	case !ok || literal:
		c.say(a.instance, Error, "spec.value", "left out: what the list is about cannot be said today", "write an AuthorizationPolicy")
		return
	}
	if t := params.get("entryType").str(); t != "" && t != "STRINGS" && t != "IP_ADDRESSES" {
		c.say(a.handler, Error, "spec.entryType", "left out: an AuthorizationPolicy has no regular expressions in lists", "write an AuthorizationPolicy with the values")
		return
	}
	checked := &listed{clause: value, values: list}
	checked.not = params.get("blacklist").str() != "true"
	c.refuse(a, checked)
}

// listed is a clause with many values.
type listed struct {
	clause
	values *node
}

// refuse is a DENY policy for what a rule matches, or several if its alternatives are about different workloads.
func (c *conversion) refuse(a action, checked *listed) {
	any, ok := parseMixer(a.rule.Spec.spec.get("match").str())
	if !ok {
		c.say(a.rule, Error, "spec.match", "left out: this condition cannot be said in an AuthorizationPolicy", "write one by hand")
		return
	}
	pos := a.rule.At("spec.match")
	var all []*denial
	for _, clauses := range any {
		d := &denial{c: c, a: a, home: a.rule.Namespace, source: mapping(pos), operation: mapping(pos), when: listing(pos)}
		good := true
		for _, cl := range clauses {
			good = good && d.add(cl, words(pos, nil))
		}
		if checked != nil {
			good = good && d.add(checked.clause, checked.values)
		}
		if !good {
			continue
		}
		i := slices.IndexFunc(all, func(o *denial) bool { return o.home == d.home && maps.Equal(o.match, d.match) })
		if i < 0 {
			all, i = append(all, d), len(all)
		}
		all[i].rules = append(all[i].rules, d.rule())
	}
	for _, d := range all {
		var match *node
		if len(d.match) > 0 {
			match = textMap(pos, d.match)
		}
		spec := selecting(pos, match).with("action", pos, text(pos, "DENY")).with("rules", pos, listing(pos, d.rules...))
		c.add(securityKind("AuthorizationPolicy", d.home, a.rule.Name), spec, a.rule, a.handler, a.instance)
	}
}

// denial is one alternative on its way to a DENY policy.
type denial struct {
	c                 *conversion
	a                 action
	home              string
	match             map[string]string
	source, operation *node
	when              *node
	rules             []*node // finished ones, of this and of other alternatives
}

// add takes up a clause; values are those of a list, if there are any. False: it cannot be said, and nothing is refused.
func (d *denial) add(cl clause, values *node) bool {
	pos := d.source.pos
	if len(values.list()) == 0 {
		v, ok := cl.glob()
		if !ok {
			return d.unsaid(cl)
		}
		values = words(pos, []string{v})
	}
	put := func(n *node, key string) bool {
		if cl.not {
			key = "not" + strings.ToUpper(key[:1]) + key[1:]
		}
		n.set(key, pos, values.copyOf())
		return true
	}
	switch {
	case cl.attribute == "source.ip" || cl.attribute == "origin.ip":
		return put(d.source, "ipBlocks")
	case cl.attribute == "source.namespace":
		return put(d.source, "namespaces")
	case cl.attribute == "source.user" || cl.attribute == "source.principal":
		return put(d.source, "principals")
	case cl.attribute == "request.method":
		return put(d.operation, "methods")
	case cl.attribute == "request.path" || cl.attribute == "request.url_path":
		return put(d.operation, "paths")
	case cl.attribute == "request.host":
		return put(d.operation, "hosts")
	case cl.attribute == "request.headers" && cl.entry != "":
		key := "values"
		if cl.not {
			key = "notValues"
		}
		name := "request.headers[" + cl.entry + "]"
		d.when.items = append(d.when.items, mapping(pos).with("key", pos, text(pos, name)).with(key, pos, values.copyOf()))
		return true
	case always(cl):
		return true
	case !cl.not && cl.op == "exact" && len(values.items) == 1:
		if d.workloads(cl) {
			return true
		}
	}
	return d.unsaid(cl)
}

// always are clauses that hold wherever a policy is looked at: at the callee, for HTTP.
func always(cl clause) bool {
	switch cl.name() {
	case "context.reporter.kind":
		return cl.value == "inbound" && !cl.not
	case "context.protocol":
		return cl.value == "http" && !cl.not
	}
	return false
}

// workloads narrows down whose requests are looked at.
func (d *denial) workloads(cl clause) bool {
	switch cl.attribute {
	case "destination.labels":
		d.match = withLabels(d.match, mapping(d.source.pos).with(cl.entry, d.source.pos, text(d.source.pos, cl.value)))
		return cl.entry != ""
	case "destination.namespace":
		return d.in(cl.value)
	case "destination.service", "destination.service.host", "destination.service.name":
		s := hostService(cl.value)
		if s.name == "" && !strings.Contains(cl.value, ".") {
			s = service{name: cl.value, namespace: d.home}
		}
		if s.name == "" || !d.in(s.namespace) {
			return false
		}
		own := d.c.selector(d.a.rule, "spec.match", s.name, s.namespace)
		d.match = withLabels(own, textMap(d.source.pos, d.match))
		return len(own) > 0
	}
	return false
}

// in says that only a namespace is meant; a rule outside the root namespace was about its own anyway.
func (d *denial) in(namespace string) bool {
	if d.home != d.c.root && d.home != namespace {
		return false
	}
	d.home = namespace
	return true
}

func (d *denial) unsaid(cl clause) bool {
	fix := "write an AuthorizationPolicy by hand"
	if strings.HasPrefix(cl.attribute, "source.") {
		fix = "give these callers a service account of their own, and write an AuthorizationPolicy with source.principals"
	}
	d.c.say(d.a.rule, Error, "spec.match", fmt.Sprintf("left out, and nothing is refused: an AuthorizationPolicy has no condition on %s", cl.name()), fix)
	return false
}

func (d *denial) rule() *node {
	pos := d.source.pos
	rule := mapping(pos)
	if len(d.source.fields) > 0 {
		rule.set("from", pos, listing(pos, mapping(pos).with("source", pos, d.source)))
	}
	if len(d.operation.fields) > 0 {
		rule.set("to", pos, listing(pos, mapping(pos).with("operation", pos, d.operation)))
	}
	if len(d.when.items) > 0 {
		rule.set("when", pos, d.when)
	}
	return rule
}
