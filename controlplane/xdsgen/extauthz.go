package xdsgen

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	netauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	// customPrefix begins the names of rules that have somebody asked, and customStats their statistics: Istio's.
	customPrefix = "istio-ext-authz-"
	customStats  = "istio_ext_authz_"
	// badCustom is the name of the rule that refuses everything in place of an authorizer that does not exist: Istio's.
	badCustom = "default-deny-all-due-to-bad-CUSTOM-action"
	// askTimeout bounds the call to an authorizer for which none is said: Istio's.
	askTimeout = 10 * time.Minute
)

// customStatsOf keeps apart the marks of several authorizers of one chain.
func customStatsOf(i int) string {
	if i == 0 {
		return customStats
	}
	return customStats + strconv.Itoa(i) + "_"
}

// askedFor tells, from the mark that the shadow rules before it leave, whether the authorizer is to be asked.
func askedFor(filter string, i int) *matcherv3.MetadataMatcher {
	return metadataMatcher(filter, []string{customStatsOf(i) + "shadow_effective_policy_id"}, &matcherv3.ValueMatcher{
		MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: stringMatcher(mesh.AuthValue{Kind: mesh.ValuePrefix, Text: customPrefix}, false)},
	})
}

// httpExtAuthz asks about requests; i is the place among the chain's authorizers.
func httpExtAuthz(c *mesh.CustomAuth, i int) *extauthzv3.ExtAuthz {
	p := c.Provider
	out := &extauthzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3, FailureModeAllow: p.FailOpen, ClearRouteCache: p.ClearRouteCache,
		FilterEnabledMetadata: askedFor(rbacFilter, i), AllowedHeaders: headerList(p.CheckHeaders),
	}
	if _, known := typev3.StatusCode_name[int32(p.StatusOnError)]; known && p.StatusOnError != 0 {
		out.StatusOnError = &typev3.HttpStatus{Code: typev3.StatusCode(p.StatusOnError)}
	}
	if b := p.Body; b != nil {
		out.WithRequestBody = &extauthzv3.BufferSettings{
			MaxRequestBytes: b.MaxBytes, AllowPartialMessage: b.AllowPartial, PackAsBytes: b.PackAsBytes,
		}
	}
	if p.GRPC {
		out.Services = &extauthzv3.ExtAuthz_GrpcService{GrpcService: askGRPC(c)}
		return out
	}
	h := &extauthzv3.HttpService{
		ServerUri: &corev3.HttpUri{
			Uri: fmt.Sprintf("http://%s:%d", p.Hostname, p.Port), Timeout: durationpb.New(cmp.Or(p.Timeout, askTimeout)),
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: c.Cluster},
		},
		PathPrefix: p.PathPrefix, AuthorizationRequest: &extauthzv3.AuthorizationRequest{},
		AuthorizationResponse: &extauthzv3.AuthorizationResponse{
			AllowedUpstreamHeaders: headerList(p.UpstreamHeaders), AllowedClientHeaders: headerList(p.DenyHeaders),
			AllowedClientHeadersOnSuccess: headerList(p.AllowHeaders),
		},
	}
	for _, a := range p.AddHeaders {
		h.AuthorizationRequest.HeadersToAdd = append(h.AuthorizationRequest.HeadersToAdd, &corev3.HeaderValue{Key: a.Name, Value: a.Value})
	}
	out.Services = &extauthzv3.ExtAuthz_HttpService{HttpService: h}
	return out
}

// tcpExtAuthz asks about connections, over gRPC only.
func tcpExtAuthz(c *mesh.CustomAuth, i int) *netauthzv3.ExtAuthz {
	return &netauthzv3.ExtAuthz{
		StatPrefix: "tcp.", GrpcService: askGRPC(c), FailureModeAllow: c.Provider.FailOpen, TransportApiVersion: corev3.ApiVersion_V3,
		FilterEnabledMetadata: askedFor(rbacTCPFilter, i), IncludePeerCertificate: true,
	}
}

func askGRPC(c *mesh.CustomAuth) *corev3.GrpcService {
	return &corev3.GrpcService{
		Timeout: durationpb.New(cmp.Or(c.Provider.Timeout, askTimeout)),
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
			ClusterName: c.Cluster, Authority: c.Provider.Hostname,
		}},
	}
}

// headerList matches names of headers, without regard to case; nil for none.
func headerList(in []mesh.AuthValue) *matcherv3.ListStringMatcher {
	if len(in) == 0 {
		return nil
	}
	out := &matcherv3.ListStringMatcher{}
	for _, v := range in {
		out.Patterns = append(out.Patterns, stringMatcher(v, true))
	}
	return out
}
