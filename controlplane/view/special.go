package view

import (
	"reflect"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// plainKinds are the lists of World whose parts bear on other namespaces than their own as on their own, but for what special says.
var plainKinds = []string{"Services", "Rules", "Workloads", "Endpoints"}

// plain stands in scopeID for all namespaces that nothing sets apart: their sidecars see the same.
const plain = "*"

// findSpecial finds the namespaces that something sets apart from others, in the eyes of the sidecars in them.
func (c *Cache) findSpecial() {
	c.special = map[string]bool{}
	mark := func(ns string) { c.special[ns] = true }
	v := reflect.ValueOf(c.world).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Slice || slices.Contains(plainKinds, v.Type().Field(i).Name) {
			continue
		}
		for j := range f.Len() {
			if ns := reflect.Indirect(f.Index(j)).FieldByName("Namespace"); ns.IsValid() && ns.Kind() == reflect.String {
				mark(ns.String())
			}
		}
	}
	for _, s := range c.world.Services {
		c.serviceMarks(s, mark)
		for _, o := range c.services[s.Hostname] {
			if o.Namespace != s.Namespace {
				mark(o.Namespace)
			}
		}
	}
	for _, r := range c.world.Rules {
		c.ruleMarks(r, mark)
	}
	for _, p := range c.world.Policies {
		visibilityMarks(p.Visibility, mark)
	}
}

func visibilityMarks(v mesh.Visibility, mark func(string)) {
	for ns := range v {
		mark(ns)
	}
}

// serviceMarks: a Kubernetes service has a short name in its own namespace.
func (c *Cache) serviceMarks(s *mesh.Service, mark func(string)) {
	visibilityMarks(s.Visibility, mark)
	if short, ok := strings.CutSuffix(s.Hostname, ".svc."+c.world.Settings.DomainSuffix); ok {
		_, ns, _ := strings.Cut(short, ".")
		mark(ns)
		mark(s.Namespace)
	}
}

func (c *Cache) ruleMarks(r *mesh.HostRules, mark func(string)) {
	visibilityMarks(r.Visibility, mark)
	for _, route := range r.Routes {
		for _, m := range route.Matches {
			if m.SourceNamespace != "" {
				mark(m.SourceNamespace)
			}
		}
	}
}

// setsApart tells whether parts that changed set a namespace apart that nothing has so far.
func (c *Cache) setsApart(services []*mesh.Service, rules []*mesh.HostRules, policies []*mesh.Policy, limits []*mesh.LimitPolicy) bool {
	apart := false
	mark := func(ns string) { apart = apart || !c.special[ns] }
	at := map[string]string{}
	for _, s := range services {
		c.serviceMarks(s, mark)
		if ns, ok := at[s.Hostname]; ok && ns != s.Namespace {
			mark(ns)
			mark(s.Namespace)
		}
		at[s.Hostname] = s.Namespace
		for _, o := range c.services[s.Hostname] {
			if o.Namespace != s.Namespace {
				mark(o.Namespace)
				mark(s.Namespace)
			}
		}
	}
	for _, r := range rules {
		c.ruleMarks(r, mark)
	}
	for _, p := range policies {
		mark(p.Namespace)
		visibilityMarks(p.Visibility, mark)
	}
	for _, l := range limits {
		mark(l.Namespace)
	}
	return apart
}

// namespaceID is what of a proxy's namespace its scope depends on.
func (c *Cache) namespaceID(n mesh.Node) string {
	if n.Gateway || c.special[n.Namespace] || n.Namespace == c.world.Settings.RootNamespace {
		return n.Namespace
	}
	return plain
}
