package xdsgen

import (
	"fmt"
	"net/netip"
	"slices"
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
	permissions, err := permissionSide().lower(r.To, r.When, tcp)
	if err != nil {
		return nil, err
	}
	principals, err := principalSide().lower(r.From, r.When, tcp)
	if err != nil {
		return nil, err
	}
	return &rbacv3.Policy{Permissions: permissions, Principals: principals}, nil
}

// rbacSide is one of the two halves of Envoy's policies, which are built alike of different types.
type rbacSide[T any] struct {
	mine    func(*mesh.AuthTerm) bool
	value   func(*mesh.AuthTerm, mesh.AuthValue) (T, error)
	any     T
	and, or func([]T) T
	not     func(T) T
}

func permissionSide() rbacSide[*rbacv3.Permission] {
	type list = []*rbacv3.Permission
	return rbacSide[*rbacv3.Permission]{
		mine: isPermission, value: permissionValue,
		any: &rbacv3.Permission{Rule: &rbacv3.Permission_Any{Any: true}},
		and: func(in list) *rbacv3.Permission {
			return &rbacv3.Permission{Rule: &rbacv3.Permission_AndRules{AndRules: &rbacv3.Permission_Set{Rules: in}}}
		},
		or: func(in list) *rbacv3.Permission {
			return &rbacv3.Permission{Rule: &rbacv3.Permission_OrRules{OrRules: &rbacv3.Permission_Set{Rules: in}}}
		},
		not: func(p *rbacv3.Permission) *rbacv3.Permission {
			return &rbacv3.Permission{Rule: &rbacv3.Permission_NotRule{NotRule: p}}
		},
	}
}

func principalSide() rbacSide[*rbacv3.Principal] {
	type list = []*rbacv3.Principal
	return rbacSide[*rbacv3.Principal]{
		mine: func(t *mesh.AuthTerm) bool { return !isPermission(t) }, value: principalValue,
		any: &rbacv3.Principal{Identifier: &rbacv3.Principal_Any{Any: true}},
		and: func(in list) *rbacv3.Principal {
			return &rbacv3.Principal{Identifier: &rbacv3.Principal_AndIds{AndIds: &rbacv3.Principal_Set{Ids: in}}}
		},
		or: func(in list) *rbacv3.Principal {
			return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: in}}}
		},
		not: func(p *rbacv3.Principal) *rbacv3.Principal {
			return &rbacv3.Principal{Identifier: &rbacv3.Principal_NotId{NotId: p}}
		},
	}
}

// lower makes one conjunction of each list's terms and of when's, as far as they are this side's.
func (s rbacSide[T]) lower(lists [][]*mesh.AuthTerm, when []*mesh.AuthTerm, tcp bool) ([]T, error) {
	var out []T
	for _, list := range atLeastOne(lists) {
		var all []T
		for _, t := range slices.Concat(list, when) {
			if !s.mine(t) || tcp && t.HTTP() {
				continue
			}
			some, err := s.term(t)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		if len(all) == 0 {
			out = append(out, s.any)
		} else {
			out = append(out, s.and(all))
		}
	}
	return out, nil
}

// term is one of the values, and none of those that are not to be.
func (s rbacSide[T]) term(t *mesh.AuthTerm) ([]T, error) {
	var out []T
	for _, half := range []struct {
		values []mesh.AuthValue
		as     func(T) T
	}{{t.Values, func(v T) T { return v }}, {t.Not, s.not}} {
		if len(half.values) == 0 {
			continue
		}
		var some []T
		for _, v := range half.values {
			one, err := s.value(t, v)
			if err != nil {
				return nil, err
			}
			some = append(some, one)
		}
		out = append(out, half.as(s.or(some)))
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
