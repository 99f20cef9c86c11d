package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// rbac converts ServiceRoles with their bindings, and what turned them on, to AuthorizationPolicies.
func (c *conversion) rbac() {
	roles, bindings := c.of("ServiceRole"), c.of("ServiceRoleBinding")
	r := &rbacRun{conversion: c, config: c.rbacConfig(), policies: map[string]*rolePolicy{}}
	switch {
	case r.config != nil && !r.turnedOn():
		for _, o := range slices.Concat(roles, bindings) {
			c.say(o, Warning, "", fmt.Sprintf("has no effect: %s at %s turns authorization off", r.config.Ref, r.config.Position), "write mode: ON there, or take this away")
		}
		return
	case r.config == nil:
		for _, o := range roles {
			c.say(o, Warning, "", "no ClusterRbacConfig is among the files: taken to be on for the services of this role, and for no other", "add ClusterRbacConfig default with its mode")
		}
	}
	bound := map[Ref]bool{}
	for _, b := range bindings {
		spec := b.Spec.spec
		for i, action := range spec.get("actions").list() {
			r.access(b, index("spec.actions", i), action, b, b)
		}
		name := cmp.Or(spec.get("roleRef", "name").str(), spec.get("role").str())
		if name == "" {
			continue
		}
		i := slices.IndexFunc(roles, func(o *Object[*Legacy]) bool { return o.Namespace == b.Namespace && o.Name == name })
		if i < 0 {
			c.say(b, Error, "spec.roleRef", fmt.Sprintf("no ServiceRole %s/%s is among the files", b.Namespace, name), "convert them together")
			continue
		}
		bound[roles[i].Ref] = true
		for j, rule := range roles[i].Spec.spec.get("rules").list() {
			r.access(roles[i], index("spec.rules", j), rule, b, roles[i])
		}
	}
	for _, o := range roles {
		if !bound[o.Ref] {
			c.say(o, Warning, "", "grants nothing: no ServiceRoleBinding in its namespace names it", "add a ServiceRoleBinding, or take it away")
		}
	}
	for _, key := range r.order {
		r.policies[key].add(c)
	}
}

// rbacConfig is the one object that turned authorization on or off; a ClusterRbacConfig counted before an RbacConfig.
func (c *conversion) rbacConfig() *Object[*Legacy] {
	all := slices.Concat(c.of("ClusterRbacConfig"), c.of("RbacConfig"))
	if len(all) == 0 {
		return nil
	}
	for _, o := range all[1:] {
		c.say(o, Warning, "", fmt.Sprintf("has no effect beside %s at %s", all[0].Ref, all[0].Position), "keep one")
	}
	return all[0]
}

// rbacRun is the conversion of all of it.
type rbacRun struct {
	*conversion
	config   *Object[*Legacy] // nil: none
	policies map[string]*rolePolicy
	order    []string
}

// rolePolicy is one AuthorizationPolicy that roles come to: of one role, for some workloads.
type rolePolicy struct {
	home, name string
	match      *node // nil: all of the namespace
	dry        bool
	rules      *node
	from       []*Object[*Legacy]
}

func (p *rolePolicy) add(c *conversion) {
	c.add(authorization(p.home, p.name, p.dry), selecting(p.rules.pos, p.match).with("rules", p.rules.pos, p.rules), p.from...)
}

func authorization(namespace, name string, dry bool) today {
	t := securityKind("AuthorizationPolicy", namespace, name)
	if dry {
		t.annotations = map[string]string{"istio.io/dry-run": "true"}
	}
	return t
}

// dry says that the mesh's config only wanted to see what would happen.
func (r *rbacRun) dry() bool {
	return r.config != nil && r.config.Spec.spec.get("enforcementMode").str() == "PERMISSIVE"
}

// turnedOn makes what the config itself comes to: nothing is allowed where it is on, until a role allows it. False: it is off.
func (r *rbacRun) turnedOn() bool {
	o, spec := r.config, r.config.Spec.spec
	pos := o.At("spec.mode")
	none := func() *node { return mapping(pos) }
	switch mode := spec.get("mode").str(); mode {
	case "ON", "ON_WITH_EXCLUSION":
		r.add(authorization(r.root, o.Name, r.dry()), none(), o)
		r.allowGateways(pos)
		if mode == "ON_WITH_EXCLUSION" {
			r.scoped("exclusion", func(match *node) *node { return selecting(pos, match).with("rules", pos, listing(pos, mapping(pos))) })
		}
	case "ON_WITH_INCLUSION":
		r.scoped("inclusion", func(match *node) *node { return selecting(pos, match) })
	case "", "OFF":
		r.say(o, Info, "spec.mode", "authorization is off: nothing is enforced", "")
		return false
	default:
		r.say(o, Error, "spec.mode", fmt.Sprintf("unknown value %q: authorization is taken to be on for everything", mode), "write ON, ON_WITH_INCLUSION, ON_WITH_EXCLUSION or OFF")
		r.add(authorization(r.root, o.Name, r.dry()), none(), o)
		r.allowGateways(pos)
	}
	return true
}

// allowGateways keeps gateways open: ServiceRoles were enforced by sidecars only.
func (r *rbacRun) allowGateways(pos Position) {
	selectors := map[string]map[string]string{}
	for _, g := range r.set.Gateways {
		if s := g.Spec.GetSelector(); len(s) > 0 {
			selectors[labelsName(s)] = s
		}
	}
	if len(selectors) == 0 {
		selectors = map[string]map[string]string{"istio-ingressgateway": {"istio": "ingressgateway"}}
	}
	for _, name := range sortedKeys(selectors) {
		spec := selecting(pos, textMap(pos, selectors[name])).with("rules", pos, listing(pos, mapping(pos)))
		r.add(authorization(r.root, "allow-"+name, r.dry()), spec, r.config)
	}
}

// scoped adds a policy for each namespace and service of inclusion or exclusion.
func (r *rbacRun) scoped(key string, spec func(match *node) *node) {
	o := r.config
	t := o.Spec.spec.get(key)
	if t.present("workloadSelectors") {
		r.say(o, Error, "spec."+key+".workloadSelectors", "left out: no version of Istio enforced it", "write services or namespaces")
	}
	for i, n := range t.get("namespaces").list() {
		if n.str() == r.root {
			r.say(o, Warning, index("spec."+key+".namespaces", i), "left out: a policy in "+r.root+" holds for the whole mesh", "its gateways take requests all the same; for other workloads there write AuthorizationPolicies with a selector")
			continue
		}
		r.add(authorization(n.str(), o.Name, r.dry()), spec(nil), o)
	}
	for i, n := range t.get("services").list() {
		path := index("spec."+key+".services", i)
		s := hostService(n.str())
		if s.name == "" {
			r.say(o, Error, path, fmt.Sprintf("left out: %q is no Service's full name", n.str()), "write NAME.NAMESPACE."+clusterDomain)
			continue
		}
		if match := r.selector(o, path, s.name, s.namespace); len(match) > 0 {
			r.add(authorization(s.namespace, o.Name+"-"+s.name, r.dry()), spec(textMap(n.pos, match)), o)
		}
	}
}

// included says whether the config is on for a service; "" is the namespace as a whole.
func (r *rbacRun) included(namespace, name string) bool {
	if r.config == nil || r.config.Spec.spec.get("mode").str() != "ON_WITH_INCLUSION" {
		return true
	}
	t := r.config.Spec.spec.get("inclusion")
	for _, n := range t.get("namespaces").list() {
		if n.str() == namespace {
			return true
		}
	}
	for _, n := range t.get("services").list() {
		if s := hostService(n.str()); name != "" && s.name == name && s.namespace == namespace {
			return true
		}
	}
	return false
}

// access adds what a binding grants by one rule of a role (or of its own actions).
func (r *rbacRun) access(o *Object[*Legacy], path string, rule *node, b, named *Object[*Legacy]) {
	when, labels, ok := r.constraints(o, path, rule)
	if !ok {
		return
	}
	operation := operationOf(rule)
	rules := r.grants(b, operation, when, rule.pos)
	if len(rules) == 0 {
		return
	}
	dry := r.dry() || b.Spec.spec.get("mode").str() == "PERMISSIVE"
	for _, t := range r.workloads(o, path, rule) {
		match := t.match
		if len(labels) > 0 {
			match = withLabels(match, textMap(rule.pos, labels))
		}
		key := fmt.Sprint(named.Ref, match, dry)
		p := r.policies[key]
		if p == nil {
			name := named.Name
			if t.name != "" {
				name += "-" + t.name
			}
			p = &rolePolicy{home: named.Namespace, name: name, dry: dry, rules: listing(rule.pos)}
			if len(match) > 0 {
				p.match = textMap(rule.pos, match)
			}
			r.policies[key], r.order = p, append(r.order, key)
		}
		for _, g := range rules {
			p.rules.items = append(p.rules.items, g.copyOf())
		}
		for _, x := range []*Object[*Legacy]{o, b} {
			if !slices.Contains(p.from, x) {
				p.from = append(p.from, x)
			}
		}
	}
}

// roleTarget is the workloads of one service that a role is about; without a match all of the namespace.
type roleTarget struct {
	name  string
	match map[string]string
}

// workloads are those of the services that a rule names: all of a namespace, by full name, or by its beginning or end.
func (r *rbacRun) workloads(o *Object[*Legacy], path string, rule *node) []roleTarget {
	services := rule.get("services").list()
	var out []roleTarget
	add := func(path, name string) {
		if !r.included(o.Namespace, name) || slices.ContainsFunc(out, func(t roleTarget) bool { return t.name == name }) {
			return
		}
		if match := r.selector(o, path, name, o.Namespace); len(match) > 0 {
			out = append(out, roleTarget{name, match})
		}
	}
	for i, s := range services {
		at := index(path+".services", i)
		pattern := s.str()
		switch {
		case pattern == "*" && r.included(o.Namespace, ""):
			return []roleTarget{{}}
		case strings.HasPrefix(pattern, "*") || strings.HasSuffix(pattern, "*"):
			found := false
			for _, svc := range r.set.Services {
				if svc.Namespace == o.Namespace && glob(pattern, svc.Name+"."+svc.Namespace+"."+clusterDomain) {
					found = true
					add(at, svc.Name)
				}
			}
			if !found {
				r.say(o, Error, at, fmt.Sprintf("left out: no Service among the files has a name like %q in namespace %s", pattern, o.Namespace), "convert together with the Services")
			}
		default:
			name, rest, _ := strings.Cut(pattern, ".")
			if ns, _, _ := strings.Cut(rest, "."); ns != o.Namespace && ns != "" && ns != "svc" {
				r.say(o, Error, at, fmt.Sprintf("left out: %q is not in the role's namespace %s", pattern, o.Namespace), "put the ServiceRole into the service's namespace")
				continue
			}
			add(at, name)
		}
	}
	if len(services) == 0 && r.included(o.Namespace, "") {
		return []roleTarget{{}}
	}
	return out
}

// glob matches "*", "x*", "*x" and "x", as RBAC and Mixer did.
func glob(pattern, s string) bool {
	switch {
	case pattern == "*":
		return true
	case strings.HasPrefix(pattern, "*"):
		return strings.HasSuffix(s, pattern[1:])
	case strings.HasSuffix(pattern, "*"):
		return strings.HasPrefix(s, pattern[:len(pattern)-1])
	}
	return pattern == s
}

// operationOf is rules[].to of today's; "*" among the values was any.
func operationOf(rule *node) *node {
	out := mapping(rule.pos)
	for _, key := range []string{"hosts", "notHosts", "methods", "notMethods", "paths", "notPaths", "ports", "notPorts"} {
		f := rule.find(key)
		if f == nil || len(f.value.list()) == 0 || slices.ContainsFunc(f.value.items, func(n *node) bool { return n.str() == "*" }) {
			continue
		}
		list := listing(f.value.pos)
		for _, n := range f.value.items {
			list.items = append(list.items, text(n.pos, n.str()))
		}
		out.set(key, f.pos, list)
	}
	return out
}

// constraints are conditions of today's, and labels of the workloads. False: one cannot be said, and so the rule allows nothing.
func (r *rbacRun) constraints(o *Object[*Legacy], path string, rule *node) (when []*node, labels map[string]string, ok bool) {
	labels = map[string]string{}
	for i, k := range rule.get("constraints").list() {
		key, values := k.get("key").str(), k.get("values")
		at := index(path+".constraints", i)
		switch label, isLabel := strings.CutPrefix(key, "destination.labels["); {
		case isLabel && len(values.list()) == 1 && !strings.Contains(values.items[0].str(), "*"):
			labels[strings.TrimSuffix(label, "]")] = values.items[0].str()
		case key == "destination.namespace" && slices.ContainsFunc(values.list(), func(n *node) bool { return glob(n.str(), o.Namespace) }):
		case key == "destination.ip" || key == "destination.port" || key == "connection.sni" || strings.HasPrefix(key, "request.headers[") || strings.HasPrefix(key, "experimental.envoy.filters."):
			when = append(when, condition(k.pos, key, values))
		default:
			r.say(o, Error, at, fmt.Sprintf("left out, and what it would allow is not allowed: an AuthorizationPolicy has no condition on %s with these values", key), "write one policy for each label's value with a selector, or a principal")
			return nil, nil, false
		}
	}
	return when, labels, true
}

func condition(pos Position, key string, values *node) *node {
	return mapping(pos).with("key", pos, text(pos, key)).with("values", pos, values.copyOf())
}

// grants are the rules of a policy: one for all subjects that a source can name, one for each that needs conditions.
func (r *rbacRun) grants(b *Object[*Legacy], operation *node, when []*node, pos Position) []*node {
	build := func(from *node, more []*node) *node {
		rule := mapping(pos)
		if from != nil {
			rule.set("from", from.pos, from)
		}
		if len(operation.fields) > 0 {
			rule.set("to", operation.pos, listing(operation.pos, mapping(operation.pos).with("operation", operation.pos, operation.copyOf())))
		}
		if all := slices.Concat(when, more); len(all) > 0 {
			rule.set("when", pos, listing(pos, all...).copyOf())
		}
		return rule
	}
	var out []*node
	plain := listing(b.At("spec.subjects"))
	for i, s := range b.Spec.spec.get("subjects").list() {
		source, more, ok := r.subject(b, index("spec.subjects", i), s)
		switch {
		case !ok:
		case len(source.fields) == 0:
			out = append(out, build(nil, more))
		case len(more) == 0:
			plain.items = append(plain.items, mapping(s.pos).with("source", s.pos, source))
		default:
			out = append(out, build(listing(s.pos, mapping(s.pos).with("source", s.pos, source)), more))
		}
	}
	if len(plain.items) > 0 {
		out = append([]*node{build(plain, nil)}, out...)
	}
	return out
}

// subject says who a subject is: as a source and as conditions. False: it cannot be said, and so it is nobody.
func (r *rbacRun) subject(b *Object[*Legacy], path string, s *node) (source *node, when []*node, ok bool) {
	source = mapping(s.pos)
	put := func(key, condition string, pos Position, values *node) {
		if source.find(key) != nil || key == "" {
			when = append(when, mapping(pos).with("key", pos, text(pos, condition)).with("values", pos, values))
			return
		}
		source.set(key, pos, values)
	}
	said := false
	for _, f := range s.fields {
		said = true
		one := listing(f.value.pos, f.value.copyOf())
		switch f.key {
		case "user":
			if f.value.str() != "*" {
				put("principals", "source.principal", f.pos, words(f.value.pos, []string{strings.TrimPrefix(f.value.str(), "spiffe://")}))
			}
		case "names":
			put("principals", "source.principal", f.pos, f.value.copyOf())
		case "group":
			put("", "request.auth.claims[groups]", f.pos, one)
		case "groups":
			put("", "request.auth.claims[groups]", f.pos, f.value.copyOf())
		case "notGroups":
			when = append(when, mapping(f.pos).with("key", f.pos, text(f.pos, "request.auth.claims[groups]")).with("notValues", f.pos, f.value.copyOf()))
		case "notNames", "namespaces", "notNamespaces", "ips", "notIps":
			to := map[string]string{"notNames": "notPrincipals", "ips": "ipBlocks", "notIps": "notIpBlocks"}[f.key]
			source.set(cmp.Or(to, f.key), f.pos, f.value.copyOf())
		case "properties":
			for _, p := range f.value.fields {
				if !property(p, put) {
					r.say(b, Error, join(path+".properties", p.key), fmt.Sprintf("left out, and so the subject is allowed nothing: an AuthorizationPolicy cannot tell callers by %s", p.key), "give these callers a service account of their own, and write source.principal")
					return nil, nil, false
				}
			}
		}
	}
	if !said {
		r.say(b, Error, path, "left out: a subject that says nothing is nobody", `write user: "*" for everybody`)
	}
	return source, when, said
}

// property puts one of a subject's properties; false if there is no such thing today.
func property(p field, put func(key, condition string, pos Position, values *node)) bool {
	values := listing(p.value.pos, p.value.copyOf())
	switch key := p.key; {
	case key == "source.principal" || key == "source.user":
		put("principals", "source.principal", p.pos, values)
	case key == "source.namespace":
		put("namespaces", key, p.pos, values)
	case key == "source.ip":
		put("ipBlocks", key, p.pos, values)
	case key == "request.auth.principal":
		put("requestPrincipals", key, p.pos, values)
	case key == "request.auth.audiences" || key == "request.auth.presenter" || strings.HasPrefix(key, "request.auth.claims[") || strings.HasPrefix(key, "request.headers["):
		put("", key, p.pos, values)
	default:
		return false
	}
	return true
}
