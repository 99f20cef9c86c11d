package xdsgen

import (
	"fmt"
	"net/netip"
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// rbacRules are the rules of policies with one action. tcp: for connections, of which nothing is known that only requests have.
// prefix stands before the names of the rules, which are Istio's: ns[x]-policy[y]-rule[0].
func rbacRules(action rbacv3.RBAC_Action, policies []*mesh.AuthPolicy, tcp bool, prefix string) (*rbacv3.RBAC, error) {
	out := &rbacv3.RBAC{Action: action, Policies: map[string]*rbacv3.Policy{}}
	for _, p := range policies {
		for i, r := range p.Rules {
			if tcp && action == rbacv3.RBAC_ALLOW && r.HTTP() {
				continue // no connection is what it asks for
			}
			policy, err := rbacPolicy(r, tcp)
			if err != nil {
				return nil, fmt.Errorf("AuthorizationPolicy %s/%s: rule %d: %w", p.Namespace, p.Name, i, err)
			}
			out.Policies[fmt.Sprintf("%sns[%s]-policy[%s]-rule[%d]", prefix, p.Namespace, p.Name, i)] = policy
		}
	}
	return out, nil
}

// rbacPolicy is one rule: permissions are what it says of the operation, principals what it says of the source.
func rbacPolicy(r *mesh.AuthRule, tcp bool) (*rbacv3.Policy, error) {
	out := &rbacv3.Policy{}
	for _, list := range atLeastOne(r.To) {
		var rules []*rbacv3.Permission
		for _, t := range append(append([]*mesh.AuthTerm(nil), list...), r.When...) {
			if !isPermission(t) || tcp && t.HTTP() {
				continue
			}
			p, err := permission(t)
			if err != nil {
				return nil, err
			}
			rules = append(rules, p...)
		}
		out.Permissions = append(out.Permissions, allPermissions(rules))
	}
	for _, list := range atLeastOne(r.From) {
		var ids []*rbacv3.Principal
		for _, t := range append(append([]*mesh.AuthTerm(nil), list...), r.When...) {
			if isPermission(t) || tcp && t.HTTP() {
				continue
			}
			p, err := principal(t)
			if err != nil {
				return nil, err
			}
			ids = append(ids, p...)
		}
		out.Principals = append(out.Principals, allPrincipals(ids))
	}
	return out, nil
}

// atLeastOne is an empty conjunction, which holds, where there are none.
func atLeastOne(in [][]*mesh.AuthTerm) [][]*mesh.AuthTerm {
	if len(in) == 0 {
		return [][]*mesh.AuthTerm{nil}
	}
	return in
}

func isPermission(t *mesh.AuthTerm) bool {
	switch t.Attribute {
	case mesh.AuthHost, mesh.AuthMethod, mesh.AuthPath, mesh.AuthDestinationIP, mesh.AuthPort, mesh.AuthSNI, mesh.AuthMetadata:
		return true
	}
	return false
}

func allPermissions(in []*rbacv3.Permission) *rbacv3.Permission {
	if len(in) == 0 {
		return &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}}
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: in}}}
}

func allPrincipals(in []*rbacv3.Principal) *rbacv3.Principal {
	if len(in) == 0 {
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}}
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: in}}}
}

func permission(t *mesh.AuthTerm) ([]*rbacv3.Permission, error) {
	one := func(values []mesh.AuthValue) (*rbacv3.Permission, error) {
		var rules []*rbacv3.Permission
		for _, v := range values {
			p, err := permissionValue(t, v)
			if err != nil {
				return nil, err
			}
			rules = append(rules, p)
		}
		return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: rules}}}, nil
	}
	var out []*rbacv3.Permission
	if len(t.Values) > 0 {
		p, err := one(t.Values)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(t.Not) > 0 {
		p, err := one(t.Not)
		if err != nil {
			return nil, err
		}
		out = append(out, &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: p}})
	}
	return out, nil
}

func principal(t *mesh.AuthTerm) ([]*rbacv3.Principal, error) {
	one := func(values []mesh.AuthValue) (*rbacv3.Principal, error) {
		var ids []*rbacv3.Principal
		for _, v := range values {
			p, err := principalValue(t, v)
			if err != nil {
				return nil, err
			}
			ids = append(ids, p)
		}
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: ids}}}, nil
	}
	var out []*rbacv3.Principal
	if len(t.Values) > 0 {
		p, err := one(t.Values)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	if len(t.Not) > 0 {
		p, err := one(t.Not)
		if err != nil {
			return nil, err
		}
		out = append(out, &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: p}})
	}
	return out, nil
}

func permissionValue(t *mesh.AuthTerm, v mesh.AuthValue) (*rbacv3.Permission, error) {
	switch t.Attribute {
	case mesh.AuthHost:
		return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: headerMatcher(":authority", v, true)}}, nil
	case mesh.AuthMethod:
		return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: headerMatcher(":method", v, false)}}, nil
	case mesh.AuthPath:
		return pathPermission(v)
	case mesh.AuthDestinationIP:
		r, err := cidrRange(v.Text)
		return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationIp{DestinationIp: r}}, err
	case mesh.AuthPort:
		n, err := strconv.ParseUint(v.Text, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("read port: %w", err)
		}
		return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(n)}}, nil
	case mesh.AuthSNI:
		return &rbacv3.Permission{Rule: &rbacv3.Permission_RequestedServerName{RequestedServerName: stringMatcher(v, false)}}, nil
	case mesh.AuthMetadata:
		m := metadataMatcher(t.Name, t.Path, valueMatcher(v))
		return &rbacv3.Permission{Rule: &rbacv3.Permission_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: m}}}, nil
	}
	return nil, fmt.Errorf("attribute %q is none of operations", t.Attribute)
}

func pathPermission(v mesh.AuthValue) (*rbacv3.Permission, error) {
	if v.Kind == mesh.ValueTemplate {
		config, err := toAny(&templatev3.UriTemplateMatchConfig{PathTemplate: v.Text})
		if err != nil {
			return nil, err
		}
		return &rbacv3.Permission{Rule: &rbacv3.Permission_UriTemplate{UriTemplate: &corev3.TypedExtensionConfig{
			Name: "envoy.path.match.uri_template.uri_template_matcher", TypedConfig: config,
		}}}, nil
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{
		Rule: &matcherv3.PathMatcher_Path{Path: stringMatcher(v, false)},
	}}}, nil
}

func principalValue(t *mesh.AuthTerm, v mesh.AuthValue) (*rbacv3.Principal, error) {
	switch t.Attribute {
	case mesh.AuthPeer:
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Authenticated_{
			Authenticated: &rbacv3.Principal_Authenticated{PrincipalName: stringMatcher(v, false)},
		}}, nil
	case mesh.AuthSourceIP:
		r, err := cidrRange(v.Text)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{DirectRemoteIp: r}}, err
	case mesh.AuthRemoteIP:
		r, err := cidrRange(v.Text)
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_RemoteIp{RemoteIp: r}}, err
	case mesh.AuthHeader:
		return &rbacv3.Principal{Identifier: &rbacv3.Principal_Header{Header: headerMatcher(t.Name, v, false)}}, nil
	case mesh.AuthClaim:
		return claimPrincipal(t.Path, v), nil
	case mesh.AuthRequestIdentity:
		return identityPrincipal(v), nil
	}
	return nil, fmt.Errorf("attribute %q is none of sources", t.Attribute)
}

func cidrRange(text string) (*corev3.CidrRange, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("read range: %w", err)
	}
	return &corev3.CidrRange{AddressPrefix: p.Masked().Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}, nil
}

func headerMatcher(name string, v mesh.AuthValue, ignoreCase bool) *routev3.HeaderMatcher {
	if v.Kind == mesh.ValuePresent {
		return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
	}
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatcher(v, ignoreCase)}}
}

// stringMatcher compares a text, which is present if it is not empty.
func stringMatcher(v mesh.AuthValue, ignoreCase bool) *matcherv3.StringMatcher {
	out := &matcherv3.StringMatcher{IgnoreCase: ignoreCase}
	switch v.Kind {
	case mesh.ValuePrefix:
		out.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: v.Text}
	case mesh.ValueSuffix:
		out.MatchPattern = &matcherv3.StringMatcher_Suffix{Suffix: v.Text}
	case mesh.ValueRegex, mesh.ValuePresent:
		text := v.Text
		if v.Kind == mesh.ValuePresent {
			text = ".+"
		}
		out.IgnoreCase = false
		out.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: text}}
	default:
		out.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: v.Text}
	}
	return out
}

func valueMatcher(v mesh.AuthValue) *matcherv3.ValueMatcher {
	text := &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: stringMatcher(v, false)}}
	if v.List {
		return memberOf(text)
	}
	return text
}

func memberOf(v *matcherv3.ValueMatcher) *matcherv3.ValueMatcher {
	return &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_ListMatch{ListMatch: &matcherv3.ListMatcher{
		MatchPattern: &matcherv3.ListMatcher_OneOf{OneOf: v},
	}}}
}

func metadataMatcher(filter string, path []string, v *matcherv3.ValueMatcher) *matcherv3.MetadataMatcher {
	out := &matcherv3.MetadataMatcher{Filter: filter, Value: v}
	for _, key := range path {
		out.Path = append(out.Path, &matcherv3.MetadataMatcher_PathSegment{
			Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: key},
		})
	}
	return out
}
