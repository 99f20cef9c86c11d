package xdsgen

import (
	"cmp"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	jwtFilter = "envoy.filters.http.jwt_authn"
	// jwtPayload is the key of the metadata that holds a verified token's claims, as in Istio.
	jwtPayload = "payload"
	// keysTimeout bounds the fetch of a key set, keysLife is how long one is used: Istio's.
	keysTimeout = 5 * time.Second
	keysLife    = 5 * time.Minute
)

// jwtAuthn verifies tokens. A request without any passes; one with a bad token is answered 401.
func jwtAuthn(rules []*mesh.TokenRule) *jwtv3.JwtAuthentication {
	out := &jwtv3.JwtAuthentication{Providers: map[string]*jwtv3.JwtProvider{}, BypassCorsPreflight: true}
	var names []*jwtv3.JwtRequirement
	for i, r := range rules {
		name := fmt.Sprintf("origins-%d", i)
		out.Providers[name] = jwtProvider(r)
		names = append(names, &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: name}})
	}
	out.Rules = []*jwtv3.RequirementRule{{
		Match:           &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		RequirementType: &jwtv3.RequirementRule_Requires{Requires: jwtRequirement(names)},
	}}
	return out
}

// jwtRequirement is, for one provider, that it passes or that there is no token. For several: one of them passes, or each of
// them finds its token good or missing, for tokens of theirs in different places.
func jwtRequirement(names []*jwtv3.JwtRequirement) *jwtv3.JwtRequirement {
	missing := &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_AllowMissing{AllowMissing: &emptypb.Empty{}}}
	var each []*jwtv3.JwtRequirement
	for _, n := range names {
		each = append(each, anyRequirement(n, missing))
	}
	if len(each) == 1 {
		return each[0]
	}
	all := &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAll{RequiresAll: &jwtv3.JwtRequirementAndList{Requirements: each}}}
	return anyRequirement(append(append([]*jwtv3.JwtRequirement(nil), names...), all)...)
}

func anyRequirement(of ...*jwtv3.JwtRequirement) *jwtv3.JwtRequirement {
	return &jwtv3.JwtRequirement{RequiresType: &jwtv3.JwtRequirement_RequiresAny{RequiresAny: &jwtv3.JwtRequirementOrList{Requirements: of}}}
}

func jwtProvider(r *mesh.TokenRule) *jwtv3.JwtProvider {
	out := &jwtv3.JwtProvider{
		Issuer: r.Issuer, Audiences: r.Audiences, Forward: r.Forward, ForwardPayloadHeader: r.PayloadHeader,
		FromParams: r.FromParams, FromCookies: r.FromCookies, PayloadInMetadata: jwtPayload, ClearRouteCache: r.ClearRoutes,
		NormalizePayloadInMetadata: &jwtv3.JwtProvider_NormalizePayload{
			SpaceDelimitedClaims: append([]string{"permission", "scope"}, r.SplitClaims...),
		},
	}
	for _, h := range r.FromHeaders {
		out.FromHeaders = append(out.FromHeaders, &jwtv3.JwtHeader{Name: h.Name, ValuePrefix: h.Prefix})
	}
	for _, c := range r.ClaimHeaders {
		out.ClaimToHeaders = append(out.ClaimToHeaders, &jwtv3.JwtClaimToHeader{HeaderName: c.Header, ClaimName: c.Claim})
	}
	if r.KeysURI == "" {
		out.JwksSourceSpecifier = &jwtv3.JwtProvider_LocalJwks{LocalJwks: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: r.Keys},
		}}
		return out
	}
	// The listener waits for the first fetch, which ends by its timeout, so that no token comes before the keys. The one before it
	// serves until then.
	out.JwksSourceSpecifier = &jwtv3.JwtProvider_RemoteJwks{RemoteJwks: &jwtv3.RemoteJwks{
		HttpUri: &corev3.HttpUri{
			Uri: r.KeysURI, Timeout: durationpb.New(cmp.Or(r.Timeout, keysTimeout)),
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: r.KeysCluster},
		},
		CacheDuration: durationpb.New(keysLife), AsyncFetch: &jwtv3.JwksAsyncFetch{},
	}}
	return out
}

// claimPrincipal compares a claim, which may be a text or a list of texts.
func claimPrincipal(path []string, v mesh.AuthValue) *rbacv3.Principal {
	m := claimMatcher(path, v)
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_SourcedMetadata{SourcedMetadata: &rbacv3.SourcedMetadata{MetadataMatcher: m}}}
}

// identityPrincipal compares "<iss>/<sub>". Both may hold slashes, so each place where one could end and the other begin is tried.
func identityPrincipal(v mesh.AuthValue) *rbacv3.Principal {
	anyText := mesh.AuthValue{Kind: mesh.ValuePresent}
	both := func(iss, sub mesh.AuthValue) *rbacv3.Principal {
		return principalSide().and([]*rbacv3.Principal{claimPrincipal([]string{"iss"}, iss), claimPrincipal([]string{"sub"}, sub)})
	}
	var ids []*rbacv3.Principal
	switch v.Kind {
	case mesh.ValuePresent:
		return both(anyText, anyText)
	case mesh.ValuePrefix:
		ids = append(ids, both(v, anyText))
	case mesh.ValueSuffix:
		ids = append(ids, both(anyText, v))
	}
	for i, c := range v.Text {
		if c != '/' {
			continue
		}
		iss := mesh.AuthValue{Kind: mesh.ValueExact, Text: v.Text[:i]}
		sub := mesh.AuthValue{Kind: mesh.ValueExact, Text: v.Text[i+1:]}
		switch v.Kind {
		case mesh.ValuePrefix:
			sub.Kind = mesh.ValuePrefix
		case mesh.ValueSuffix:
			iss.Kind = mesh.ValueSuffix
		}
		if iss.Text == "" {
			iss = emptyPart(iss)
		}
		if sub.Text == "" {
			sub = emptyPart(sub)
		}
		if iss.Kind != "" && sub.Kind != "" {
			ids = append(ids, both(iss, sub))
		}
	}
	if len(ids) == 0 { // a text without a slash is nobody's
		return principalSide().not(principalSide().any)
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_OrIds{OrIds: &rbacv3.Principal_Set{Ids: ids}}}
}

// emptyPart: with nothing before or after the slash, a pattern takes any text and an exact text takes none.
func emptyPart(v mesh.AuthValue) mesh.AuthValue {
	if v.Kind == mesh.ValueExact {
		return mesh.AuthValue{}
	}
	return mesh.AuthValue{Kind: mesh.ValuePresent}
}

func claimMatcher(path []string, v mesh.AuthValue) *matcherv3.MetadataMatcher {
	text := &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: stringMatcher(v, false)}}
	either := &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_OrMatch{OrMatch: &matcherv3.OrMatcher{
		ValueMatchers: []*matcherv3.ValueMatcher{memberOf(text), text},
	}}}
	return metadataMatcher(jwtFilter, append([]string{jwtPayload}, path...), either)
}

// claimMatchers are a route's conditions on claims.
func claimMatchers(in []*mesh.AuthTerm) []*matcherv3.MetadataMatcher {
	var out []*matcherv3.MetadataMatcher
	for _, t := range in {
		for _, v := range t.Values {
			out = append(out, claimMatcher(t.Path, v))
		}
		for _, v := range t.Not {
			m := claimMatcher(t.Path, v)
			m.Invert = true
			out = append(out, m)
		}
	}
	return out
}
