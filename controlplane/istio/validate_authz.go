package istio

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	security "istio.io/api/security/v1beta1"
	typev1 "istio.io/api/type/v1beta1"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// AnnotationDryRun of an AuthorizationPolicy has it counted and logged, and nothing else.
const AnnotationDryRun = "istio.io/dry-run"

// gatewayAPIGroup is the Kubernetes Gateway API's.
const gatewayAPIGroup = "gateway.networking.k8s.io"

func validateAuthorizationPolicy(o *Object[ap]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	v.policyScope(s.GetSelector(), s.GetTargetRef(), s.GetTargetRefs())
	v.authAction(s)
	v.dryRun(s.GetAction())
	if v.has("spec.rules") && len(s.GetRules()) == 0 && s.GetAction() == security.AuthorizationPolicy_ALLOW {
		v.trap("spec.rules", "an empty list of rules allows nothing: everything is denied", "write rules: [{}] to allow everything, or no rules to deny it")
	}
	for i, r := range s.GetRules() {
		v.authRule(index("spec.rules", i), r, s.GetAction())
	}
	return v.diags
}

// policyScope checks what all security policies say about where they apply.
func (v *validator) policyScope(sel *typev1.WorkloadSelector, one *typev1.PolicyTargetReference, many []*typev1.PolicyTargetReference) {
	v.labels("spec.selector.matchLabels", sel.GetMatchLabels())
	set := 0
	for _, is := range []bool{sel != nil, one != nil, len(many) > 0} {
		if is {
			set++
		}
	}
	if set > 1 {
		v.fail("spec", "selector, targetRef and targetRefs exclude each other", "keep one")
	}
	if one != nil {
		v.policyTarget("spec.targetRef", one)
	}
	for i, t := range many {
		v.policyTarget(index("spec.targetRefs", i), t)
	}
}

func (v *validator) policyTarget(path string, t *typev1.PolicyTargetReference) {
	v.required(path+".name", t.GetName())
	switch group, kind := t.GetGroup(), t.GetKind(); {
	case kind == "Gateway" && (group == networkingGroup || group == gatewayAPIGroup),
		kind == "Service" && (group == "" || group == "core"),
		kind == "ServiceEntry" && group == networkingGroup:
	case kind == "Gateway":
		v.fail(path+".group", fmt.Sprintf("Gateway is not in group %q", group), "write "+networkingGroup+", or "+gatewayAPIGroup)
	case kind == "Service" || kind == "ServiceEntry":
		v.fail(path+".group", fmt.Sprintf("%s is not in group %q", kind, group), `write "" for Service, `+networkingGroup+" for ServiceEntry")
	default:
		fix := "write Gateway, Service or ServiceEntry"
		if near := nearest.Of(kind, []string{"Service", "ServiceEntry", "Gateway"}); near != "" {
			fix = "did you mean " + near + "?"
		}
		v.fail(path+".kind", fmt.Sprintf("cannot target the kind %q", kind), fix)
	}
}

func (v *validator) authAction(s ap) {
	switch action := s.GetAction(); action {
	case security.AuthorizationPolicy_CUSTOM:
		if s.GetProvider().GetName() == "" {
			v.fail("spec.provider.name", "action CUSTOM needs provider.name", "write the name of one of MeshConfig's extensionProviders")
		}
		if len(s.GetRules()) == 0 {
			v.fail("spec.rules", "action CUSTOM without rules never asks anybody", "write rules: [{}] to have every request checked")
		}
	case security.AuthorizationPolicy_DENY:
		if len(s.GetRules()) == 0 {
			v.fail("spec.rules", "action DENY without rules denies nothing", "write rules: [{}] to deny everything")
		}
		fallthrough
	default:
		if s.GetProvider() != nil {
			v.fail("spec.provider", fmt.Sprintf("provider is for action CUSTOM, not %s", action), "")
		}
	}
}

func (v *validator) dryRun(action security.AuthorizationPolicy_Action) {
	w, ok := v.meta.Annotations[AnnotationDryRun]
	if !ok {
		return
	}
	path := join("metadata.annotations", AnnotationDryRun)
	on, err := strconv.ParseBool(w)
	switch {
	case err != nil:
		v.fail(path, fmt.Sprintf("%q is neither true nor false", w), `write "true"`)
	case on && (action == security.AuthorizationPolicy_CUSTOM || action == security.AuthorizationPolicy_AUDIT):
		v.fail(path, fmt.Sprintf("action %s cannot be tried dry", action), "take the annotation away")
	}
}

func (v *validator) authRule(path string, r *security.Rule, action security.AuthorizationPolicy_Action) {
	for _, key := range []string{"from", "to", "when"} {
		n := map[string]int{"from": len(r.GetFrom()), "to": len(r.GetTo()), "when": len(r.GetWhen())}[key]
		if v.has(path+"."+key) && n == 0 {
			v.fail(path+"."+key, key+" is empty: it would hold for everything", "take it away, or fill it")
		}
	}
	for i, f := range r.GetFrom() {
		v.source(index(path+".from", i)+".source", f.GetSource(), action)
	}
	for i, t := range r.GetTo() {
		v.operation(index(path+".to", i)+".operation", t.GetOperation())
	}
	for i, c := range r.GetWhen() {
		v.condition(index(path+".when", i), c, action)
	}
}

// texts is a list of strings under its JSON name.
type texts struct {
	name   string
	values []string
}

// filled tells whether one of the lists says something, and reports empty strings in them.
func (v *validator) filled(path string, lists []texts) bool {
	any := false
	for _, l := range lists {
		any = any || len(l.values) > 0
		if v.has(path+"."+l.name) && len(l.values) == 0 {
			v.fail(path+"."+l.name, l.name+" is empty: it would hold for everything", "take it away, or fill it")
		}
		for i, s := range l.values {
			if s == "" {
				v.fail(index(path+"."+l.name, i), "an empty value matches nothing", "")
			}
		}
	}
	return any
}

func (v *validator) source(path string, s *security.Source, action security.AuthorizationPolicy_Action) {
	lists := []texts{
		{"principals", s.GetPrincipals()}, {"notPrincipals", s.GetNotPrincipals()}, {"requestPrincipals", s.GetRequestPrincipals()},
		{"notRequestPrincipals", s.GetNotRequestPrincipals()}, {"namespaces", s.GetNamespaces()}, {"notNamespaces", s.GetNotNamespaces()},
		{"serviceAccounts", s.GetServiceAccounts()}, {"notServiceAccounts", s.GetNotServiceAccounts()},
		{"ipBlocks", s.GetIpBlocks()}, {"notIpBlocks", s.GetNotIpBlocks()}, {"remoteIpBlocks", s.GetRemoteIpBlocks()},
		{"notRemoteIpBlocks", s.GetNotRemoteIpBlocks()}, {"trustDomains", s.GetTrustDomains()}, {"notTrustDomains", s.GetNotTrustDomains()},
	}
	if !v.filled(path, lists) {
		v.fail(path, "source says nothing: it would hold for everybody", "take this from away, or fill it")
	}
	for _, l := range lists {
		for i, s := range l.values {
			at := index(path+"."+l.name, i)
			switch {
			case strings.HasSuffix(l.name, "pBlocks"):
				v.ipBlock(at, s)
			case strings.HasSuffix(l.name, "erviceAccounts"):
				v.serviceAccount(at, s)
			case strings.HasSuffix(l.name, "equestPrincipals") && action == security.AuthorizationPolicy_CUSTOM:
				v.fail(at, "an external authorizer is asked before tokens are looked at", "leave tokens to the authorizer")
			case strings.HasPrefix(s, "spiffe://"):
				v.trap(at, "principals are written without spiffe://: this one matches nothing", "write "+strings.TrimPrefix(s, "spiffe://"))
			default:
				v.middle(at, s)
			}
		}
	}
	if len(s.GetServiceAccounts())+len(s.GetNotServiceAccounts()) > 0 &&
		len(s.GetPrincipals())+len(s.GetNotPrincipals())+len(s.GetNamespaces())+len(s.GetNotNamespaces()) > 0 {
		v.fail(path+".serviceAccounts", "serviceAccounts excludes principals and namespaces", "write namespace/name")
	}
}

// middle tells of a star where none is one.
func (v *validator) middle(path, s string) {
	if len(s) > 2 && strings.Contains(s[1:len(s)-1], "*") || len(s) > 1 && s[0] == '*' && s[len(s)-1] == '*' {
		v.trap(path, fmt.Sprintf("in %q a * stands for anything only at one end: here one is taken literally", s), "")
	}
}

func (v *validator) ipBlock(path, s string) {
	if isIP(s) {
		return
	}
	if _, err := netip.ParsePrefix(s); err != nil && s != "" {
		v.fail(path, fmt.Sprintf("%q is neither an IP address nor a CIDR range", s), "write for example 10.1.0.0/16")
	}
}

func (v *validator) serviceAccount(path, s string) {
	ns, name, two := strings.Cut(s, "/")
	if !two {
		name = ns
	}
	if s != "" && (strings.Contains(s, "*") || two && !label(ns) || !hostname(name)) {
		v.fail(path, fmt.Sprintf("%q is no service account", s), "write namespace/name, or name; no *")
	}
}

func (v *validator) operation(path string, o *security.Operation) {
	lists := []texts{
		{"hosts", o.GetHosts()}, {"notHosts", o.GetNotHosts()}, {"ports", o.GetPorts()}, {"notPorts", o.GetNotPorts()},
		{"methods", o.GetMethods()}, {"notMethods", o.GetNotMethods()}, {"paths", o.GetPaths()}, {"notPaths", o.GetNotPaths()},
	}
	if !v.filled(path, lists) {
		v.fail(path, "operation says nothing: it would hold for everything", "take this to away, or fill it")
	}
	for _, l := range lists {
		for i, s := range l.values {
			at := index(path+"."+l.name, i)
			switch strings.ToLower(strings.TrimPrefix(l.name, "not")) {
			case "ports":
				v.portText(at, s)
			case "paths":
				v.authPath(at, s)
			case "methods":
				if s != strings.ToUpper(s) {
					v.trap(at, fmt.Sprintf("methods are compared with their case: %q matches no usual request", s), "write "+strings.ToUpper(s))
				}
				v.middle(at, s)
			default:
				v.middle(at, s)
			}
		}
	}
}

func (v *validator) portText(path, s string) {
	if n, err := strconv.ParseUint(s, 10, 16); s != "" && (err != nil || n == 0) {
		v.fail(path, fmt.Sprintf("%q is not a port", s), "write a number from 1 to 65535")
	}
}

// authPath checks a path, which may be a template.
func (v *validator) authPath(path, s string) {
	if !strings.Contains(s, "{*}") && !strings.Contains(s, "{**}") {
		if s != "" && s[0] != '/' && s[0] != '*' {
			v.trap(path, fmt.Sprintf("paths begin with /: %q matches none", s), "write /"+s)
		}
		v.middle(path, s)
		return
	}
	deep := false
	if s[0] != '/' {
		v.fail(path, fmt.Sprintf("the template %q does not begin with /", s), "")
		return
	}
	for part := range strings.SplitSeq(s[1:], "/") {
		switch {
		case part == "{*}" || part == "{**}":
			if deep {
				v.fail(path, fmt.Sprintf("in the template %q {**} is not the last operator", s), "")
				return
			}
			deep = part == "{**}"
		case strings.ContainsAny(part, "{}*"):
			v.fail(path, fmt.Sprintf("in the template %q {*} and {**} must be whole segments, and nothing else may hold *, { or }", s), "write for example /users/{*}/orders/{**}")
			return
		case strings.Trim(part, templateLetters) != "":
			v.fail(path, fmt.Sprintf("the template %q has a character that Envoy's templates do not take", s), "use letters, digits and -._~%!$&'+,;=:@")
			return
		}
	}
}

// templateLetters are what a segment of Envoy's URI templates may be made of, beside operators.
const templateLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'+,;:@="

// conditionKeys are the keys of conditions without a name in brackets.
func conditionKeys() []string {
	return []string{
		"source.ip", "remote.ip", "source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain",
		"request.auth.principal", "request.auth.audiences", "request.auth.presenter", "destination.ip", "destination.port", "connection.sni",
	}
}

// Prefixes of keys that go on with a name in brackets.
const (
	headerKey   = "request.headers"
	claimKey    = "request.auth.claims"
	metadataKey = "experimental.envoy.filters."
)

// pseudoHeaders are a request's own, which Envoy matches like any other (RFC 9113, section 8.3.1).
func pseudoHeaders() []string { return []string{":authority", ":method", ":path", ":scheme"} }

func (v *validator) condition(path string, c *security.Condition, action security.AuthorizationPolicy_Action) {
	key := c.GetKey()
	if !v.required(path+".key", key) {
		return
	}
	if len(c.GetValues())+len(c.GetNotValues()) == 0 {
		v.fail(path, "the condition has neither values nor notValues", "add values")
	}
	names, ok := Brackets(strings.TrimPrefix(strings.TrimPrefix(key, headerKey), claimKey))
	switch {
	case strings.HasPrefix(key, headerKey):
		if !ok || len(names) != 1 || !headerName(names[0]) && !slices.Contains(pseudoHeaders(), names[0]) {
			v.fail(path+".key", fmt.Sprintf("%q names no header", key), "write request.headers[x-name]")
		}
	case strings.HasPrefix(key, claimKey):
		if !ok || len(names) == 0 {
			v.fail(path+".key", fmt.Sprintf("%q names no claim", key), "write request.auth.claims[name], or [outer][inner]")
		}
	case strings.HasPrefix(key, metadataKey):
		if _, rest, found := strings.Cut(key, "["); !found || !strings.HasSuffix(rest, "]") || len(rest) < 2 {
			v.fail(path+".key", fmt.Sprintf("%q names no key of a filter's metadata", key), "write experimental.envoy.filters.FILTER[key]")
		}
	case !slices.Contains(conditionKeys(), key):
		fix := "write one of " + strings.Join(conditionKeys(), ", ") + ", request.headers[...], request.auth.claims[...]"
		if near := nearest.Of(key, conditionKeys()); near != "" {
			fix = "did you mean " + near + "?"
		}
		v.fail(path+".key", fmt.Sprintf("unknown key %q", key), fix)
	}
	if action == security.AuthorizationPolicy_CUSTOM && strings.HasPrefix(key, "request.auth.") {
		v.fail(path+".key", "an external authorizer is asked before tokens are looked at", "leave tokens to the authorizer")
	}
	v.conditionValues(path, c)
}

func (v *validator) conditionValues(path string, c *security.Condition) {
	lists := []texts{{"values", c.GetValues()}, {"notValues", c.GetNotValues()}}
	v.filled(path, lists)
	for _, l := range lists {
		for i, s := range l.values {
			at := index(path+"."+l.name, i)
			switch c.GetKey() {
			case "source.ip", "remote.ip", "destination.ip":
				v.ipBlock(at, s)
			case "destination.port":
				v.portText(at, s)
			case "source.serviceAccount":
				v.serviceAccount(at, s)
			default:
				v.middle(at, s)
			}
		}
	}
}

// Brackets reads "[a][b]" as a, b; false if text is anything else, "" included.
func Brackets(text string) ([]string, bool) {
	inner, ok := strings.CutPrefix(text, "[")
	inner, end := strings.CutSuffix(inner, "]")
	names := strings.Split(inner, "][")
	if !ok || !end || slices.Contains(names, "") {
		return nil, false
	}
	return names, true
}
