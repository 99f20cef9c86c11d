package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	security "istio.io/api/security/v1beta1"
	typev1 "istio.io/api/type/v1beta1"
)

// authz lowers AuthorizationPolicies, RequestAuthentications and the external authorizers of MeshConfig.
func (c *compiler) authz() {
	out := &mesh.Authz{}
	providers := c.authProviders()
	asked := map[string]bool{}
	for _, o := range c.set.AuthorizationPolicies {
		p := c.authPolicy(o, providers)
		if p == nil {
			continue
		}
		if p.Provider != nil && !asked[p.Provider.Name] {
			asked[p.Provider.Name] = true
			out.Providers = append(out.Providers, p.Provider)
		}
		out.Policies = append(out.Policies, p)
	}
	for _, o := range c.set.RequestAuthentications {
		if t := c.tokenPolicy(o); t != nil {
			out.Tokens = append(out.Tokens, t)
		}
	}
	slices.SortFunc(out.Providers, func(a, b *mesh.AuthProvider) int { return strings.Compare(a.Name, b.Name) })
	out.Hosts = c.keyHosts(out.Tokens)
	if len(out.Policies)+len(out.Tokens) > 0 {
		c.world.Authz = out
		c.analyzeAuthz(out)
	}
}

func (c *compiler) authPolicy(o *istio.Object[*security.AuthorizationPolicy], providers map[string]*mesh.AuthProvider) *mesh.AuthPolicy {
	spec := o.Spec
	p := &mesh.AuthPolicy{Action: mesh.AuthAction(spec.GetAction().String())}
	var ok bool
	if p.Bearing, ok = c.bearing(&o.Meta, spec.GetSelector(), spec.GetTargetRef(), spec.GetTargetRefs()); !ok {
		return nil
	}
	p.DryRun, _ = strconv.ParseBool(o.Annotations[istio.AnnotationDryRun])
	if p.Action == mesh.AuthCustom {
		name := spec.GetProvider().GetName()
		if p.Provider = providers[name]; p.Provider == nil {
			fix := "add it to MeshConfig's extensionProviders, as envoyExtAuthzHttp or envoyExtAuthzGrpc"
			if len(providers) > 0 {
				fix = "write one of " + strings.Join(slices.Sorted(maps.Keys(providers)), ", ")
			}
			c.report(&o.Meta, "spec.provider.name", istio.Error, codeNotFound,
				fmt.Sprintf("no external authorizer %q that exists and has a service: every request that the policy bears on is refused", name), fix)
		}
	}
	for _, r := range spec.GetRules() {
		p.Rules = append(p.Rules, c.authRule(r, o.Namespace))
	}
	return p
}

// bearing says which proxies a policy is for; false if it has targets, of which none exists.
func (c *compiler) bearing(m *istio.Meta, sel *typev1.WorkloadSelector, one *typev1.PolicyTargetReference, many []*typev1.PolicyTargetReference) (mesh.Bearing, bool) {
	b := mesh.Bearing{Namespace: m.Namespace, Name: m.Name, Origin: origin(m, "")}
	if l := sel.GetMatchLabels(); len(l) > 0 {
		b.Selector = l
		ns := m.Namespace
		if ns == c.world.Settings.RootNamespace {
			ns = ""
		}
		if !c.selectsGateway(l) {
			c.checkSelector(m, "spec.selector", ns, l)
		}
	}
	if one != nil {
		many = []*typev1.PolicyTargetReference{one}
	}
	found := false
	for i, t := range many {
		path := index("spec.targetRefs", i)
		if one != nil {
			path = "spec.targetRef"
		}
		if c.bearsOn(&b, t) {
			found = true
			continue
		}
		c.report(m, path, istio.Error, codeNotFound, fmt.Sprintf("target %s %s/%s not found", t.GetKind(), m.Namespace, t.GetName()), "")
	}
	return b, found || len(many) == 0
}

// gatewayAPIGroup is the Kubernetes Gateway API's.
const gatewayAPIGroup = "gateway.networking.k8s.io"

func (c *compiler) bearsOn(b *mesh.Bearing, t *typev1.PolicyTargetReference) bool {
	switch t.GetKind() {
	case "Service":
		host := c.serviceFQDN(t.GetName(), b.Namespace)
		b.Services = append(b.Services, host)
		return len(c.byHost[host]) > 0
	case "ServiceEntry":
		found := false
		for _, s := range c.world.Services {
			if s.ShortName == "" && s.Namespace == b.Namespace && s.Origin.Name == t.GetName() {
				b.Services, found = append(b.Services, s.Hostname), true
			}
		}
		return found
	}
	b.Gateways = append(b.Gateways, b.Namespace+"/"+t.GetName())
	if t.GetGroup() == gatewayAPIGroup {
		return len(c.selected(b.Namespace, map[string]string{mesh.GatewayNameLabel: t.GetName()})) > 0
	}
	return slices.ContainsFunc(c.world.Gateways, func(g *mesh.Gateway) bool {
		return g.Namespace == b.Namespace && g.Name == t.GetName()
	})
}

func (c *compiler) authRule(in *security.Rule, namespace string) *mesh.AuthRule {
	r := &mesh.AuthRule{}
	for _, f := range in.GetFrom() {
		r.From = append(r.From, c.sourceTerms(f.GetSource(), namespace))
	}
	for _, t := range in.GetTo() {
		r.To = append(r.To, operationTerms(t.GetOperation()))
	}
	for _, w := range in.GetWhen() {
		r.When = append(r.When, c.conditionTerm(w, namespace))
	}
	return r
}

// terms collects terms, leaving out what says nothing.
type terms []*mesh.AuthTerm

func (t *terms) add(attribute string, lower func(string) []mesh.AuthValue, values, not []string) {
	if len(values)+len(not) == 0 {
		return
	}
	term := &mesh.AuthTerm{Attribute: attribute}
	for _, v := range values {
		term.Values = append(term.Values, lower(v)...)
	}
	for _, v := range not {
		term.Not = append(term.Not, lower(v)...)
	}
	*t = append(*t, term)
}

func (c *compiler) sourceTerms(s *security.Source, namespace string) []*mesh.AuthTerm {
	var t terms
	account := func(v string) []mesh.AuthValue { return serviceAccount(v, namespace) }
	t.add(mesh.AuthPeer, c.principal, s.GetPrincipals(), s.GetNotPrincipals())
	t.add(mesh.AuthRequestIdentity, pattern, s.GetRequestPrincipals(), s.GetNotRequestPrincipals())
	t.add(mesh.AuthPeer, peerNamespace, s.GetNamespaces(), s.GetNotNamespaces())
	t.add(mesh.AuthPeer, account, s.GetServiceAccounts(), s.GetNotServiceAccounts())
	t.add(mesh.AuthSourceIP, cidr, s.GetIpBlocks(), s.GetNotIpBlocks())
	t.add(mesh.AuthRemoteIP, cidr, s.GetRemoteIpBlocks(), s.GetNotRemoteIpBlocks())
	t.add(mesh.AuthPeer, trustDomain, s.GetTrustDomains(), s.GetNotTrustDomains())
	return t
}

func operationTerms(o *security.Operation) []*mesh.AuthTerm {
	var t terms
	t.add(mesh.AuthHost, pattern, o.GetHosts(), o.GetNotHosts())
	t.add(mesh.AuthPort, exact, o.GetPorts(), o.GetNotPorts())
	t.add(mesh.AuthMethod, pattern, o.GetMethods(), o.GetNotMethods())
	t.add(mesh.AuthPath, pathValue, o.GetPaths(), o.GetNotPaths())
	return t
}

// conditionTerm lowers a condition, whose key is known.
func (c *compiler) conditionTerm(in *security.Condition, namespace string) *mesh.AuthTerm {
	key := in.GetKey()
	attribute, lower := key, pattern
	var name string
	var path []string
	switch key {
	case "source.principal":
		lower = c.principal
	case "source.namespace":
		attribute, lower = mesh.AuthPeer, peerNamespace
	case "source.serviceAccount":
		attribute, lower = mesh.AuthPeer, func(v string) []mesh.AuthValue { return serviceAccount(v, namespace) }
	case "source.trustDomain":
		attribute, lower = mesh.AuthPeer, trustDomain
	case "source.ip", "remote.ip", "destination.ip":
		lower = cidr
	case "destination.port":
		lower = exact
	case "request.auth.audiences":
		attribute, path = mesh.AuthClaim, []string{"aud"}
	case "request.auth.presenter":
		attribute, path = mesh.AuthClaim, []string{"azp"}
	default:
		attribute, name, path, lower = namedKey(key)
	}
	var t terms
	t.add(attribute, lower, in.GetValues(), in.GetNotValues())
	if len(t) == 0 { // a condition without values was refused when it was read
		return &mesh.AuthTerm{Attribute: attribute, Name: name, Path: path}
	}
	t[0].Name, t[0].Path = name, path
	return t[0]
}

// namedKey takes apart the keys that go on in brackets, and leaves the others as they are.
func namedKey(key string) (attribute, name string, path []string, lower func(string) []mesh.AuthValue) {
	if rest, ok := strings.CutPrefix(key, mesh.AuthHeader); ok {
		names, _ := istio.Brackets(rest)
		return mesh.AuthHeader, strings.ToLower(strings.Join(names, "")), nil, pattern
	}
	if rest, ok := strings.CutPrefix(key, mesh.AuthClaim); ok {
		names, _ := istio.Brackets(rest)
		return mesh.AuthClaim, "", names, pattern
	}
	if rest, ok := strings.CutPrefix(key, mesh.AuthMetadata+"."); ok {
		filter, k, _ := strings.Cut(rest, "[")
		return mesh.AuthMetadata, filter, []string{strings.TrimSuffix(k, "]")}, metadataValue
	}
	return key, "", nil, pattern
}

func exact(v string) []mesh.AuthValue {
	return []mesh.AuthValue{{Kind: mesh.ValueExact, Text: v}}
}

// pattern reads "*", "prefix*", "*suffix" and plain text.
func pattern(v string) []mesh.AuthValue {
	switch {
	case v == "*":
		return []mesh.AuthValue{{Kind: mesh.ValuePresent}}
	case strings.HasSuffix(v, "*"):
		return []mesh.AuthValue{{Kind: mesh.ValuePrefix, Text: v[:len(v)-1]}}
	case strings.HasPrefix(v, "*"):
		return []mesh.AuthValue{{Kind: mesh.ValueSuffix, Text: v[1:]}}
	}
	return exact(v)
}

// metadataValue reads "[pattern]" as a member of a list.
func metadataValue(v string) []mesh.AuthValue {
	if inner, ok := strings.CutPrefix(v, "["); ok && strings.HasSuffix(inner, "]") {
		out := pattern(strings.TrimSuffix(inner, "]"))
		out[0].List = true
		return out
	}
	return pattern(v)
}

// pathValue turns Istio's template operators into Envoy's.
func pathValue(v string) []mesh.AuthValue {
	if strings.Contains(v, "{*}") || strings.Contains(v, "{**}") {
		return []mesh.AuthValue{{Kind: mesh.ValueTemplate, Text: strings.NewReplacer("{**}", "**", "{*}", "*").Replace(v)}}
	}
	return pattern(v)
}

// cidr reads an address or a range, which istio.Decode has checked.
func cidr(v string) []mesh.AuthValue {
	if a, err := netip.ParseAddr(v); err == nil {
		v = netip.PrefixFrom(a, a.BitLen()).String()
	}
	return []mesh.AuthValue{{Kind: mesh.ValueCIDR, Text: v}}
}

const spiffe = "spiffe://"

// principal reads "<trust domain>/ns/<namespace>/sa/<service account>" or a pattern of it. The mesh's own trust domain stands for
// its aliases too, and cluster.local for the mesh's own.
func (c *compiler) principal(v string) []mesh.AuthValue {
	switch p := pattern(v)[0]; p.Kind {
	case mesh.ValueSuffix:
		return []mesh.AuthValue{{Kind: mesh.ValueRegex, Text: spiffe + ".*" + regexp.QuoteMeta(p.Text)}}
	case mesh.ValuePresent:
		return []mesh.AuthValue{p}
	}
	var out []mesh.AuthValue
	for _, p := range c.aliases(v) {
		q := pattern(p)[0]
		q.Text = spiffe + q.Text
		out = append(out, q)
	}
	return out
}

// aliases is a principal with each name of the mesh's trust domain, if it is of that.
func (c *compiler) aliases(principal string) []string {
	domain, rest, ok := strings.Cut(principal, "/")
	own := c.trustDomains()
	if !ok || !slices.Contains(own, domain) && domain != defaultTrustDomain {
		return []string{principal}
	}
	var out []string
	for _, d := range own {
		out = append(out, d+"/"+rest)
	}
	return out
}

const defaultTrustDomain = "cluster.local"

// trustDomains are the mesh's own and its aliases.
func (c *compiler) trustDomains() []string {
	out := []string{defaultTrustDomain}
	if d := c.world.Settings.TrustDomain; d != "" {
		out[0] = d
	}
	if c.set.Mesh == nil {
		return out
	}
	for _, d := range c.set.Mesh.Spec.GetTrustDomainAliases() {
		if d != "" && !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// segment is a pattern within one segment of a SPIFFE id, as a regular expression.
func segment(v string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(v), `\*`, "[^/]*")
}

func peerNamespace(v string) []mesh.AuthValue {
	return []mesh.AuthValue{{Kind: mesh.ValueRegex, Text: spiffe + "[^/]+/ns/" + segment(v) + "/sa/.+"}}
}

func serviceAccount(v, namespace string) []mesh.AuthValue {
	ns, name, two := strings.Cut(v, "/")
	if !two {
		ns, name = namespace, v
	}
	return []mesh.AuthValue{{Kind: mesh.ValueRegex, Text: spiffe + "[^/]+/ns/" + regexp.QuoteMeta(ns) + "/sa/" + regexp.QuoteMeta(name)}}
}

func trustDomain(v string) []mesh.AuthValue {
	return []mesh.AuthValue{{Kind: mesh.ValueRegex, Text: spiffe + segment(v) + "/.+"}}
}
