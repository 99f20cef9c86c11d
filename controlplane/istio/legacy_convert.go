package istio

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// conversion is one run over the legacy objects of a Set.
type conversion struct {
	set      Set
	services map[string]*Object[svc] // by namespace/name
	written  map[Ref]*Meta           // today's objects that a user wrote
	root     string                  // namespace of what holds for the whole mesh

	out    []*derived
	diags  Diagnostics
	became map[Ref][]Ref // of a legacy object: what it is part of
	taken  map[Ref]bool

	destinations map[string]*destination // by full name
}

func newConversion(s Set) *conversion {
	c := &conversion{
		set: s, services: map[string]*Object[svc]{}, written: map[Ref]*Meta{}, root: "istio-system",
		became: map[Ref][]Ref{}, taken: map[Ref]bool{}, destinations: map[string]*destination{},
	}
	for _, o := range s.Services {
		c.services[o.Namespace+"/"+o.Name] = o
	}
	for _, m := range s.Metas() {
		c.written[m.Ref] = m
	}
	if s.Mesh != nil && s.Mesh.Spec.GetRootNamespace() != "" {
		c.root = s.Mesh.Spec.GetRootNamespace()
	}
	return c
}

// all converts every legacy object. Kinds go in an order in which names come out the same whatever files they stand in.
func (c *conversion) all() {
	c.routeRules()
	c.destinationPolicies()
	c.egressRules()
	c.destinationRules()
	c.authentication()
	c.rbac()
	c.quotas()
	c.mixer()
}

// of returns the legacy objects of some kinds, sorted by namespace and name.
func (c *conversion) of(kinds ...string) []*Object[*Legacy] {
	var out []*Object[*Legacy]
	for _, o := range c.set.Legacy {
		if slices.Contains(kinds, o.Kind) {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b *Object[*Legacy]) int { return a.Ref.Compare(b.Ref) })
	return out
}

// say reports about a place of a legacy object that has no counterpart, or not the same one.
func (c *conversion) say(o *Object[*Legacy], severity Severity, path, message, fix string) {
	d := Diagnostic{Code: CodeObsoleteKind, Severity: severity, Object: o.Ref, Position: o.At(path), Path: path, Message: message, Fix: fix}
	if !slices.Contains(c.diags, d) {
		c.diags = append(c.diags, d)
	}
}

// today is where an object goes that legacy ones come to.
type today struct {
	apiVersion, kind, namespace, name string
	annotations                       map[string]string
}

func networkingKind(kind, namespace, name string) today {
	return today{apiVersion: networkingGroup + "/v1", kind: kind, namespace: namespace, name: name}
}

func securityKind(kind, namespace, name string) today {
	return today{apiVersion: securityGroup + "/v1", kind: kind, namespace: namespace, name: name}
}

// add makes an object of today's. A name that is taken already gets a suffix.
func (c *conversion) add(t today, spec *node, from ...*Object[*Legacy]) {
	ref := Ref{Kind: t.kind, Namespace: t.namespace, Name: t.name}
	for i := 1; c.taken[ref] || c.written[ref] != nil; i++ {
		ref.Name = t.name + "-legacy"
		if i > 1 {
			ref.Name += "-" + strconv.Itoa(i)
		}
	}
	c.taken[ref] = true
	pos := from[0].Position
	meta := mapping(pos).with("name", pos, text(pos, ref.Name))
	if _, named := from[0].Places["metadata.namespace"]; named || ref.Namespace != "default" {
		meta.set("namespace", pos, text(pos, ref.Namespace))
	}
	if labels := from[0].Labels; len(from) == 1 && len(labels) > 0 {
		meta.with("labels", pos, textMap(pos, labels))
	}
	if len(t.annotations) > 0 {
		meta.with("annotations", pos, textMap(pos, t.annotations))
	}
	root := mapping(pos).with("apiVersion", pos, text(pos, t.apiVersion)).with("kind", pos, text(pos, t.kind)).
		with("metadata", pos, meta).with("spec", pos, spec)
	c.out = append(c.out, &derived{root: root, from: from})
	for _, o := range from {
		if !slices.Contains(c.became[o.Ref], ref) {
			c.became[o.Ref] = append(c.became[o.Ref], ref)
		}
	}
}

// notices tell for each legacy object what it is read as.
func (c *conversion) notices() Diagnostics {
	var out Diagnostics
	for _, o := range c.set.Legacy {
		refs := c.became[o.Ref]
		if len(refs) == 0 {
			continue
		}
		slices.SortFunc(refs, func(a, b Ref) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), a.Compare(b)) })
		words := make([]string, 0, len(refs))
		for _, r := range refs {
			words = append(words, r.String())
		}
		if n := len(words); n > 4 {
			words = append(words[:3:3], fmt.Sprintf("%d more", n-3))
		}
		out = append(out, Diagnostic{
			Code: CodeDeprecated, Severity: Warning, Object: o.Ref, Position: o.Position,
			Message: fmt.Sprintf("%s is no longer in Istio: read as %s", o.Kind, enumerate(words)), Fix: "`mizzen convert -f FILE` writes that",
		})
	}
	return out
}

// enumerate is "a, b and c".
func enumerate(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// with is set, for building.
func (n *node) with(key string, pos Position, v *node) *node {
	n.set(key, pos, v)
	return n
}

// carry copies a field, if it is there, under today's name.
func (n *node) carry(to string, from *node, key string) bool {
	f := from.find(key)
	if f == nil || f.value.kind == nullNode {
		return false
	}
	n.set(to, f.pos, f.value.copyOf())
	return true
}

// nest adds a mapping, unless it is empty.
func (n *node) nest(key string, m *node) {
	if len(m.fields) > 0 {
		n.set(key, m.pos, m)
	}
}

func text(pos Position, s string) *node { return &node{kind: stringNode, pos: pos, text: s} }

func number(pos Position, i int) *node {
	return &node{kind: numberNode, pos: pos, text: strconv.Itoa(i)}
}

func textMap(pos Position, m map[string]string) *node {
	n := mapping(pos)
	for _, k := range sortedKeys(m) {
		n.set(k, pos, text(pos, m[k]))
	}
	return n
}

func listing(pos Position, items ...*node) *node {
	return &node{kind: listNode, pos: pos, items: items}
}

func words(pos Position, list []string) *node {
	n := listing(pos)
	for _, s := range list {
		n.items = append(n.items, text(pos, s))
	}
	return n
}

// list is the items of a list; none for anything else.
func (n *node) list() []*node {
	if n == nil || n.kind != listNode {
		return nil
	}
	return n.items
}

// present says that a key is there with a value.
func (n *node) present(keys ...string) bool {
	v := n.get(keys...)
	return v != nil && v.kind != nullNode
}

// service is an IstioService of v1alpha2: what a rule is about.
type service struct {
	name, namespace string // of a Service of the mesh; "" if host is no such name
	host            string // full name
}

// serviceOf resolves an IstioService as Istio 0.8 did: service before name, the rule's own namespace, the domain as it stands.
func serviceOf(n *node, namespace string) service {
	if full := n.get("service").str(); full != "" {
		return hostService(full)
	}
	name := n.get("name").str()
	if ns := n.get("namespace").str(); ns != "" {
		namespace = ns
	}
	domain := n.get("domain").str()
	if domain == "" {
		domain = clusterDomain
	}
	if strings.HasSuffix(name, "."+clusterDomain) {
		return hostService(name)
	}
	s := service{host: name + "." + namespace + "." + domain}
	if domain == clusterDomain {
		s.name, s.namespace = name, namespace
	}
	return s
}

const clusterDomain = "svc.cluster.local"

// hostService tells a Service's full name from other hosts.
func hostService(host string) service {
	s := service{host: host}
	if short, ok := strings.CutSuffix(host, "."+clusterDomain); ok {
		if name, ns, ok := strings.Cut(short, "."); ok && name != "*" && !strings.Contains(ns, ".") {
			s.name, s.namespace = name, ns
		}
	}
	return s
}

// in is the host as an object of a namespace names it.
func (s service) in(namespace string) string {
	if s.name != "" && s.namespace == namespace {
		return s.name
	}
	return s.host
}

// home is the namespace of objects about the service: its own, else that of the rule about it.
func (s service) home(rule string) string { return cmp.Or(s.namespace, rule) }

// objectName is a name for an object about the service.
func (s service) objectName() string {
	if s.name != "" {
		return s.name
	}
	return objectName(s.host)
}

// objectName makes a name that an object may have.
func objectName(s string) string {
	s = strings.ReplaceAll(strings.ToLower(s), "*", "wildcard")
	var b strings.Builder
	for _, r := range s {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	if s = strings.Trim(b.String(), "-."); s == "" {
		return "legacy"
	}
	return s
}

// selector is the labels of a Service's workloads. Where the Service is not among the files they are guessed, and the user is told.
func (c *conversion) selector(o *Object[*Legacy], path, name, namespace string) map[string]string {
	if s := c.services[namespace+"/"+name]; s != nil {
		if len(s.Spec.Spec.Selector) == 0 {
			c.say(o, Error, path, fmt.Sprintf("Service %s/%s has no selector: which workloads are meant cannot be known", namespace, name), "give the Service a selector")
			return nil
		}
		return s.Spec.Spec.Selector
	}
	c.say(o, Warning, path, fmt.Sprintf("Service %s/%s is not among the files: its workloads are taken to have the label app: %s", namespace, name, name),
		"convert together with the Service, or check the labels")
	return map[string]string{"app": name}
}
