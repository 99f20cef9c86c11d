package xdsgen

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
)

// blackHole is the cluster without hosts that both Istio and the view call so.
const blackHole = "BlackHoleCluster"

func seconds(n int64) *durationpb.Duration { return &durationpb.Duration{Seconds: n} }

// setAction sets the route's action and header edits.
func setAction(out *routev3.Route, h *mesh.VirtualHost, r *mesh.BoundRoute, s scope) error {
	def := r.Route
	if def == nil {
		def = &mesh.Route{}
	}
	e := headerEdits(def.Headers)
	switch {
	case def.Redirect != nil:
		out.Action = &routev3.Route_Redirect{Redirect: redirect(def.Redirect, requestPort(h.Name, s.Table))}
	case def.Direct != nil:
		out.Action = &routev3.Route_DirectResponse{DirectResponse: direct(def.Direct)}
	default:
		action := &routev3.RouteAction{}
		if len(r.Clusters) == 1 {
			e = withDestination(e, headerEdits(r.Clusters[0].Headers), len(def.Destinations) > 1)
		}
		setForward(action, def, e.authority)
		setDestinations(action, r.Clusters)
		setPolicies(action, def, r, s)
		action.AppendXForwardedHost = s.ForwardedHost && action.HostRewriteSpecifier != nil
		out.Action = &routev3.Route_Route{Route: action}
	}
	out.RequestHeadersToAdd, out.RequestHeadersToRemove = e.requestAdd, e.requestRemove
	out.ResponseHeadersToAdd, out.ResponseHeadersToRemove = e.responseAdd, e.responseRemove
	return nil
}

// withDestination merges the edits of the one destination that an Envoy route has into its route's. Istio appends those
// of a route's only destination, which so have the last word. Of several, Envoy applies the destination's first: the
// route then has it. An Envoy route of the canary for one of several must do as Envoy does with all of them.
// The route's host rewrite wins either way.
func withDestination(route, destination edits, oneOfSeveral bool) edits {
	first, last := route, destination
	if oneOfSeveral {
		first, last = destination, route
		// Envoy would edit twice, each time removing before it adds. One edit has one removal.
		first.requestAdd = without(first.requestAdd, last.requestRemove)
		first.responseAdd = without(first.responseAdd, last.responseRemove)
	}
	return edits{
		requestAdd:     slices.Concat(first.requestAdd, last.requestAdd),
		requestRemove:  slices.Concat(first.requestRemove, last.requestRemove),
		responseAdd:    slices.Concat(first.responseAdd, last.responseAdd),
		responseRemove: slices.Concat(first.responseRemove, last.responseRemove),
		authority:      cmp.Or(route.authority, destination.authority),
	}
}

// without leaves out the options for headers that are removed.
func without(options []*corev3.HeaderValueOption, removed []string) []*corev3.HeaderValueOption {
	return slices.DeleteFunc(slices.Clone(options), func(o *corev3.HeaderValueOption) bool {
		return slices.ContainsFunc(removed, func(n string) bool { return strings.EqualFold(n, o.Header.Key) })
	})
}

// setForward sets rewrites and timeouts. Envoy's own default timeout of 15 s is switched off, as Istio does.
// A gRPC request's own grpc-timeout counts up to the route's timeout; it ends in DEADLINE_EXCEEDED, where the deprecated
// max_grpc_timeout, which Istio still uses, ends in UNAVAILABLE and prints a warning for every route.
// prefix_rewrite replaces what matched: the prefix, the whole of an exact path, or the "/" of a route without a path.
func setForward(out *routev3.RouteAction, def *mesh.Route, authority string) {
	out.Timeout = durationpb.New(def.Timeout)
	if def.Timeout == 0 {
		// Honours grpc-timeout. Not together with a timeout: once max_stream_duration is set Envoy ignores timeout, and
		// max_grpc_timeout, which Istio uses, is deprecated. A gRPC request then has the route's timeout, as any other.
		out.MaxStreamDuration = &routev3.RouteAction_MaxStreamDuration{GrpcTimeoutHeaderMax: durationpb.New(0)}
	}
	if w := def.Rewrite; w != nil {
		out.PrefixRewrite = w.Path
		if w.RegexMatch != "" {
			out.PrefixRewrite = ""
			out.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{Pattern: native.Regex(w.RegexMatch), Substitution: w.RegexSub}
		}
		if w.Authority != "" {
			authority = w.Authority
		}
	}
	if authority != "" {
		out.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: authority}
	}
}

// setDestinations names one cluster or several. No destination at all is answered 503 by the cluster without hosts.
func setDestinations(out *routev3.RouteAction, clusters []*mesh.WeightedCluster) {
	switch len(clusters) {
	case 0:
		out.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: blackHole}
	case 1:
		out.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: clusters[0].Cluster}
	default:
		w := &routev3.WeightedCluster{}
		for _, c := range clusters {
			w.Clusters = append(w.Clusters, clusterWeight(c))
		}
		out.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: w}
	}
}

func clusterWeight(c *mesh.WeightedCluster) *routev3.WeightedCluster_ClusterWeight {
	e := headerEdits(c.Headers)
	out := &routev3.WeightedCluster_ClusterWeight{
		Name: c.Cluster, Weight: wrapperspb.UInt32(c.Weight),
		RequestHeadersToAdd: e.requestAdd, RequestHeadersToRemove: e.requestRemove,
		ResponseHeadersToAdd: e.responseAdd, ResponseHeadersToRemove: e.responseRemove,
	}
	if e.authority != "" {
		out.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: e.authority}
	}
	return out
}

// setPolicies sets mirrors, hash policies, retries and CONNECT.
func setPolicies(out *routev3.RouteAction, def *mesh.Route, r *mesh.BoundRoute, s scope) {
	for _, m := range r.Mirrors {
		if m.PPM == 0 {
			continue // 0 means no mirror, where Envoy would take an absent fraction for all
		}
		out.RequestMirrorPolicies = append(out.RequestMirrorPolicies, &routev3.RouteAction_RequestMirrorPolicy{
			Cluster: m.Cluster,
			RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
				Numerator: m.PPM, Denominator: typev3.FractionalPercent_MILLION,
			}},
			TraceSampled:                  wrapperspb.Bool(false),
			DisableShadowHostSuffixAppend: true,
		})
	}
	for _, k := range r.Hash {
		out.HashPolicy = append(out.HashPolicy, hashPolicy(k))
	}
	out.RetryPolicy = retryPolicy(retries(def, s), len(r.Hash) > 0)
	if r.Connect {
		setConnect(out, r.Tunnel)
	}
}

// retries are the route's own, else the mesh's. Before the application itself no user's policy counts.
func retries(def *mesh.Route, s scope) *mesh.Retries {
	switch {
	case s.Inbound:
		return &mesh.Retries{Attempts: 2, On: inboundRetryOn}
	case def.Retries != nil:
		return def.Retries
	}
	return s.Retries
}

func hashPolicy(k *mesh.HashKey) *routev3.RouteAction_HashPolicy {
	out := &routev3.RouteAction_HashPolicy{}
	switch {
	case k.Header != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{
			Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: k.Header},
		}
	case k.QueryParameter != "":
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{
			QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: k.QueryParameter},
		}
	case k.Cookie != nil:
		c := &routev3.RouteAction_HashPolicy_Cookie{Name: k.Cookie.Name, Path: k.Cookie.Path}
		if k.Cookie.TTL != nil {
			c.Ttl = durationpb.New(*k.Cookie.TTL)
		}
		for _, a := range k.Cookie.Attributes {
			c.Attributes = append(c.Attributes, &routev3.RouteAction_HashPolicy_CookieAttribute{Name: a.Name, Value: a.Value})
		}
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{Cookie: c}
	default:
		out.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
			ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
		}
	}
	return out
}

// redirect translates Istio's HTTPRedirect; port is the one the request came to. A port that is the scheme's own is
// left out, and the scheme of a plain listener is http.
func redirect(r *mesh.Redirect, port uint32) *routev3.RedirectAction {
	out := &routev3.RedirectAction{HostRedirect: r.Authority, PortRedirect: r.Port, ResponseCode: redirectCode(r.Code)}
	if r.PortFromRequest {
		out.PortRedirect = port
	}
	scheme := r.Scheme
	if scheme == "" {
		scheme = "http"
	} else {
		out.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: scheme}
	}
	if scheme == "http" && out.PortRedirect == 80 || scheme == "https" && out.PortRedirect == 443 {
		out.PortRedirect = 0
	}
	switch {
	case r.Path != "":
		out.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.Path}
	case r.Prefix != "":
		out.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: r.Prefix}
	}
	return out
}

// redirectCode defaults to 301, for codes that Envoy cannot send too.
func redirectCode(code uint32) routev3.RedirectAction_RedirectResponseCode {
	switch code {
	case 302:
		return routev3.RedirectAction_FOUND
	case 303:
		return routev3.RedirectAction_SEE_OTHER
	case 307:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	}
	return routev3.RedirectAction_MOVED_PERMANENTLY
}

func direct(d *mesh.DirectResponse) *routev3.DirectResponseAction {
	out := &routev3.DirectResponseAction{Status: d.Status}
	if d.Body != "" {
		out.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: d.Body}}
	}
	return out
}

// corsConfig is the route's configuration of Envoy's CORS filter, which does nothing without one.
func corsConfig(c *mesh.CORS) (*anypb.Any, error) {
	out := &corsv3.CorsPolicy{
		AllowMethods: strings.Join(c.Methods, ","), AllowHeaders: strings.Join(c.Headers, ","),
		ExposeHeaders:                strings.Join(c.Expose, ","),
		ForwardNotMatchingPreflights: wrapperspb.Bool(!c.IgnoreUnmatched),
		FilterEnabled: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
			Numerator: 100, Denominator: typev3.FractionalPercent_HUNDRED,
		}},
	}
	for _, o := range c.Origins {
		m, err := native.String(o)
		if err != nil {
			return nil, fmt.Errorf("cors origin: %w", err)
		}
		out.AllowOriginStringMatch = append(out.AllowOriginStringMatch, m)
	}
	if c.MaxAge > 0 {
		out.MaxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	if c.Credentials != nil {
		out.AllowCredentials = wrapperspb.Bool(*c.Credentials)
	}
	return toAny(out)
}
