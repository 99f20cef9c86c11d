package istio

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// authentication converts Policy and MeshPolicy: peers become a PeerAuthentication, origins a RequestAuthentication and, unless they
// are optional, an AuthorizationPolicy that asks for a token.
func (c *conversion) authentication() {
	peers := map[string]*portModes{} // of one service, whatever policies are about it
	var order []string
	for _, o := range c.of("MeshPolicy", "Policy") {
		spec := o.Spec.spec
		home := o.Namespace
		if o.Kind == "MeshPolicy" {
			home = c.root
		}
		if b := spec.get("principalBinding").str(); b != "" && b != "USE_PEER" && b != "USE_ORIGIN" {
			c.say(o, Error, "spec.principalBinding", fmt.Sprintf("unknown value %q", b), "write USE_PEER or USE_ORIGIN")
		}
		mode := c.peerMode(o)
		targets := spec.get("targets").list()
		if len(targets) == 0 {
			c.wide(o, home, mode)
			continue
		}
		if o.Kind == "MeshPolicy" {
			c.say(o, Error, "spec.targets", "left out: a MeshPolicy has no targets", "write a Policy in the namespace of the services")
			continue
		}
		for i, t := range targets {
			path := index("spec.targets", i)
			match := c.selector(o, path, t.get("name").str(), home)
			if len(match) == 0 {
				continue
			}
			match = withLabels(match, t.get("labels"))
			c.origins(o, home, nameOf(o, t.get("name").str(), len(targets)), textMap(t.pos, match))
			key := home + "/" + t.get("name").str() + "/" + fmt.Sprint(match)
			if peers[key] == nil {
				peers[key] = &portModes{home: home, name: nameOf(o, t.get("name").str(), len(targets)), match: textMap(t.pos, match), ports: map[int]*node{}}
				order = append(order, key)
			}
			c.portModes(o, path, t, mode, peers[key])
		}
	}
	for _, key := range order {
		c.peer(peers[key])
	}
}

// nameOf names what becomes of one of several targets.
func nameOf(o *Object[*Legacy], target string, targets int) string {
	if targets > 1 {
		return o.Name + "-" + target
	}
	return o.Name
}

func withLabels(match map[string]string, more *node) map[string]string {
	out := map[string]string{}
	for k, v := range match {
		out[k] = v
	}
	for k, v := range more.strings() {
		out[k] = v
	}
	return out
}

// peerMode is the mode of mTLS as a word with its place. mtls: {} meant STRICT; a policy without peers took plaintext, which PERMISSIVE
// does too.
func (c *conversion) peerMode(o *Object[*Legacy]) *node {
	spec := o.Spec.spec
	pos := o.At("spec.peers")
	mode := "PERMISSIVE"
	for i, p := range spec.get("peers").list() {
		f := p.find("mtls")
		switch {
		case f == nil:
			c.say(o, Error, index("spec.peers", i), "left out: only mtls was ever a way for peers to prove who they are", "write origins: [{jwt}]")
			continue
		case mode == "STRICT":
			continue
		}
		pos, mode = f.pos, "STRICT"
		if m := f.value.get("mode").str(); m != "" {
			mode = m
		}
		if f.value.get("allowTls").str() == "true" {
			mode = "PERMISSIVE"
			c.say(o, Warning, "spec.peers", "allowTls let callers leave out their certificate: read as PERMISSIVE, which takes plaintext too", "write mode: STRICT if every caller has a sidecar")
		}
	}
	if spec.get("peerIsOptional").str() == "true" && mode == "STRICT" {
		mode = "PERMISSIVE"
	}
	return text(pos, mode)
}

// wide is a policy for a namespace or the mesh. Today's own object for the same counts before it.
func (c *conversion) wide(o *Object[*Legacy], home string, mode *node) {
	if o.Name != "default" {
		c.say(o, Warning, "metadata.name", fmt.Sprintf("Istio took a %s without targets only if its name was default; this one counts all the same", o.Kind), "name it default, or add targets")
	}
	for _, pa := range c.set.PeerAuthentications {
		if pa.Namespace == home && len(pa.Spec.GetSelector().GetMatchLabels()) == 0 {
			c.say(o, Warning, "spec.peers", fmt.Sprintf("has no effect: PeerAuthentication %s/%s at %s is about the same workloads", pa.Namespace, pa.Name, pa.Position), "take one of them away")
			mode = nil
		}
	}
	if mode != nil {
		spec := mapping(mode.pos).with("mtls", mode.pos, mapping(mode.pos).with("mode", mode.pos, mode))
		c.add(securityKind("PeerAuthentication", home, o.Name), spec, o)
	}
	c.origins(o, home, o.Name, nil)
	if len(o.Spec.spec.get("origins").list()) == 0 {
		return
	}
	for _, p := range c.of("Policy") {
		if p != o && (p.Namespace == home || o.Kind == "MeshPolicy") {
			c.say(p, Warning, "spec.origins", fmt.Sprintf("its workloads ask for the token of %s too: today such rules add up, and do not take each other's place", o.Ref), "name the services that ask for one as targets there")
		}
	}
}

// portModes is what policies say of the ports of a service's workloads.
type portModes struct {
	home, name string
	match      *node
	whole      *node // the mode of all ports; nil: what the namespace has
	ports      map[int]*node
	from       []*Object[*Legacy]
}

// portModes takes up one target. Its ports are the Service's: those of the workloads are found by it.
func (c *conversion) portModes(o *Object[*Legacy], path string, target, mode *node, m *portModes) {
	said := func(old *node) bool {
		if old != nil && old.text != mode.text {
			c.say(o, Warning, path, fmt.Sprintf("%s has no effect: the Policy at %s says %s for the same port", mode.text, old.pos, old.text), "keep one")
		}
		return old != nil
	}
	if !slices.Contains(m.from, o) {
		m.from = append(m.from, o)
	}
	ports := target.get("ports").list()
	if len(ports) == 0 {
		if !said(m.whole) {
			m.whole = mode
		}
		return
	}
	for i, p := range ports {
		if n := c.workloadPort(o, index(path+".ports", i), target.get("name").str(), p); n > 0 && !said(m.ports[n]) {
			m.ports[n] = mode
		}
	}
}

// workloadPort is the port of the workloads behind a port of the Service; 0, with a diagnostic, if it cannot be known.
func (c *conversion) workloadPort(o *Object[*Legacy], path, name string, p *node) int {
	number, err := strconv.Atoi(p.get("number").str())
	svc := c.services[o.Namespace+"/"+name]
	if svc == nil {
		if err != nil {
			c.say(o, Error, path, fmt.Sprintf("left out: Service %s/%s is not among the files, so the port %q cannot be known", o.Namespace, name, p.get("name").str()), "convert together with the Service")
			return 0
		}
		return number
	}
	for _, sp := range svc.Spec.Spec.Ports {
		if int(sp.Port) != number && (sp.Name == "" || sp.Name != p.get("name").str()) {
			continue
		}
		switch {
		case sp.TargetPort.IntVal > 0:
			return int(sp.TargetPort.IntVal)
		case sp.TargetPort.StrVal == "":
			return int(sp.Port)
		}
		if n := c.containerPort(svc, sp.TargetPort.StrVal); n > 0 {
			return n
		}
		c.say(o, Error, path, fmt.Sprintf("left out: targetPort %s of Service %s/%s names a port that no workload among the files has", sp.TargetPort.StrVal, o.Namespace, name), "write a PeerAuthentication with portLevelMtls")
		return 0
	}
	c.say(o, Error, path, fmt.Sprintf("left out: Service %s/%s has no such port", o.Namespace, name), "")
	return 0
}

// containerPort finds a named port in the workloads that a Service selects.
func (c *conversion) containerPort(s *Object[svc], name string) int {
	for _, w := range c.set.Workloads {
		if w.Namespace != s.Namespace || !contains(w.Spec.Template.Labels, s.Spec.Spec.Selector) {
			continue
		}
		for _, container := range w.Spec.Template.Spec.Containers {
			for _, p := range container.Ports {
				if p.Name == name {
					return int(p.ContainerPort)
				}
			}
		}
	}
	return 0
}

func contains(labels, want map[string]string) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (c *conversion) peer(m *portModes) {
	if m.whole == nil && len(m.ports) == 0 {
		return
	}
	pos := m.match.pos
	spec := mapping(pos).with("selector", pos, mapping(pos).with("matchLabels", pos, m.match))
	if m.whole != nil {
		spec.set("mtls", m.whole.pos, mapping(m.whole.pos).with("mode", m.whole.pos, m.whole))
	}
	if len(m.ports) > 0 {
		list := mapping(pos)
		for _, port := range sortedInts(m.ports) {
			mode := m.ports[port]
			list.set(strconv.Itoa(port), mode.pos, mapping(mode.pos).with("mode", mode.pos, mode))
		}
		spec.set("portLevelMtls", pos, list)
	}
	c.add(securityKind("PeerAuthentication", m.home, m.name), spec, m.from...)
}

func sortedInts[V any](m map[int]V) []int {
	out := make([]int, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// origins is end-user authentication: match nil is all workloads of the namespace.
func (c *conversion) origins(o *Object[*Legacy], home, name string, match *node) {
	spec := o.Spec.spec
	items := spec.get("origins").list()
	if len(items) == 0 {
		return
	}
	pos := spec.find("origins").pos
	rules := listing(pos)
	for i, item := range items {
		if j := item.below("jwt"); j != nil {
			rules.items = append(rules.items, jwtRule(j))
		} else {
			c.say(o, Error, index("spec.origins", i), "left out: only jwt was ever an origin", "write jwt: {issuer, jwksUri}")
		}
	}
	out := selecting(pos, match).with("jwtRules", pos, rules)
	c.add(securityKind("RequestAuthentication", home, name), out, o)
	if spec.get("originIsOptional").str() == "true" {
		c.say(o, Info, "spec.originIsOptional", "requests without a token pass, as they did; one with a bad token is refused, which it was not", "")
		return
	}
	deny := listing(pos)
	for i, item := range items {
		c.demands(o, index("spec.origins", i)+".jwt", item.get("jwt"), len(items), deny)
	}
	c.add(securityKind("AuthorizationPolicy", home, name+"-origins"), selecting(pos, match).with("action", pos, text(pos, "DENY")).with("rules", pos, deny), o)
}

// selecting begins a spec about workloads.
func selecting(pos Position, match *node) *node {
	spec := mapping(pos)
	if match != nil {
		spec.set("selector", pos, mapping(pos).with("matchLabels", pos, match.copyOf()))
	}
	return spec
}

func jwtRule(j *node) *node {
	r := mapping(j.pos)
	for _, key := range []string{"issuer", "audiences", "jwksUri", "jwks"} {
		r.carry(key, j, key)
	}
	if f := j.find("jwtHeaders"); f != nil {
		list := listing(f.value.pos)
		for _, h := range f.value.list() {
			item := mapping(h.pos).with("name", h.pos, h.copyOf())
			if strings.EqualFold(h.str(), "authorization") {
				item.set("prefix", h.pos, text(h.pos, "Bearer "))
			}
			list.items = append(list.items, item)
		}
		r.set("fromHeaders", f.pos, list)
	}
	r.carry("fromParams", j, "jwtParams")
	r.set("forwardOriginalToken", j.pos, &node{kind: boolNode, pos: j.pos, text: "true"}) // as Istio did then
	return r
}

// demands adds to a DENY policy the requests that need a token and have none. Without trigger rules these are all.
func (c *conversion) demands(o *Object[*Legacy], path string, j *node, origins int, deny *node) {
	triggers := j.get("triggerRules").list()
	who := "*"
	if origins > 1 && len(triggers) > 0 {
		who = j.get("issuer").str() + "/*"
		c.say(o, Warning, path+".triggerRules", "of several origins with trigger rules each asks for its own token where it is triggered; any one of them used to do", "write AuthorizationPolicies with requestPrincipals")
	}
	if len(triggers) == 0 {
		if len(deny.items) > 0 && origins > 1 {
			return // one rule says it for all
		}
		deny.items = append(deny.items, withoutToken(j.pos, who, nil))
		return
	}
	for i, t := range triggers {
		at := index(path+".triggerRules", i)
		operation := mapping(t.pos)
		paths, all := c.triggerPaths(o, at+".includedPaths", t.get("includedPaths"), "every path asks for a token")
		if len(paths) > 0 && all {
			operation.set("paths", t.pos, words(t.pos, paths))
		}
		if not, _ := c.triggerPaths(o, at+".excludedPaths", t.get("excludedPaths"), "this path asks for a token too"); len(not) > 0 {
			operation.set("notPaths", t.pos, words(t.pos, not))
		}
		deny.items = append(deny.items, withoutToken(t.pos, who, operation))
	}
}

func withoutToken(pos Position, who string, operation *node) *node {
	rule := mapping(pos).with("from", pos, listing(pos, mapping(pos).with("source", pos, mapping(pos).with("notRequestPrincipals", pos, words(pos, []string{who})))))
	if operation != nil && len(operation.fields) > 0 {
		rule.set("to", pos, listing(pos, mapping(pos).with("operation", pos, operation)))
	}
	return rule
}

// triggerPaths says paths as AuthorizationPolicy does; all is false if one could not be.
func (c *conversion) triggerPaths(o *Object[*Legacy], path string, list *node, instead string) (paths []string, all bool) {
	all = true
	for i, m := range list.list() {
		switch {
		case m.present("exact"):
			paths = append(paths, m.get("exact").str())
		case m.present("prefix"):
			paths = append(paths, m.get("prefix").str()+"*")
		case m.present("suffix"):
			paths = append(paths, "*"+m.get("suffix").str())
		default:
			all = false
			c.say(o, Warning, index(path, i), "an AuthorizationPolicy has no regular expressions for paths: "+instead, "write exact, prefix or suffix")
		}
	}
	return paths, all
}
