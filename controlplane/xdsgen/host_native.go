package xdsgen

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
)

// nativeHost has Envoy's own filters do what they can. What they cannot is left out here, and told by package run.
type nativeHost struct{}

// Both filters do nothing but what a route says, so that a policy that comes or goes changes no listener. A limit refuses before a
// fault delays, as in Mizzen's chain.
func (nativeHost) filters(listenerInput) ([]*hcmv3.HttpFilter, error) {
	limit, err := httpFilter(native.LimitFilter, &localv3.LocalRateLimit{StatPrefix: "mizzen"})
	if err != nil {
		return nil, err
	}
	fault, err := httpFilter(native.FaultFilter, &faultv3.HTTPFault{})
	return []*hcmv3.HttpFilter{limit, fault}, err
}

func (nativeHost) virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error {
	if h.RateLimit == nil {
		return nil
	}
	c, _ := native.Limits(h.RateLimit, "mizzen")
	if c == nil {
		return nil
	}
	config, err := toAny(c)
	if err == nil {
		setConfig(&out.TypedPerFilterConfig, native.LimitFilter, config)
	}
	return err
}

func (nativeHost) route(out *routev3.Route, _ *mesh.VirtualHost, r *mesh.BoundRoute) error {
	stick(out.GetRoute(), r)
	if r.Fault == nil || len(r.Fault.Rules) != 1 {
		return nil
	}
	c, err := native.Fault(&r.Fault.Rules[0], r.Fault)
	if err != nil {
		return nil
	}
	config, err := toAny(c)
	if err == nil {
		setConfig(&out.TypedPerFilterConfig, native.FaultFilter, config)
	}
	return err
}

// stick makes the choice among weighted clusters depend on a hash. Envoy has one hash for it and for the choice of an endpoint:
// where a DestinationRule has one, it is in force for that, and the sides are drawn.
func stick(out *routev3.RouteAction, r *mesh.BoundRoute) {
	if r.Route == nil || r.Route.Sticky == nil || len(r.Hash) > 0 || out.GetWeightedClusters() == nil {
		return
	}
	if p, err := native.Sticky(r.Route.Sticky); err == nil {
		out.HashPolicy = append(out.HashPolicy, p)
		out.GetWeightedClusters().RandomValueSpecifier = &routev3.WeightedCluster_UseHashPolicy{UseHashPolicy: wrapperspb.Bool(true)}
	}
}
