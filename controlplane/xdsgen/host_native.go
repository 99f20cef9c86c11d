package xdsgen

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen/native"
)

// nativeHost has Envoy's own filters do what they can. What they cannot is left out here, and told by package run.
type nativeHost struct{}

// The filters do nothing but what a route says, so that a policy that comes or goes changes no listener. A limit refuses before a
// fault delays, as in Mizzen's chain, and what this proxy refuses by itself the rate-limit service is not asked for.
func (nativeHost) filters(in listenerInput) ([]*hcmv3.HttpFilter, error) {
	type named struct {
		name   string
		config proto.Message
	}
	list := []named{{native.LimitFilter, &localv3.LocalRateLimit{StatPrefix: "mizzen"}}}
	if in.AsksLimits && limits(in.Listener.Kind) {
		list = append(list, named{native.GlobalFilter, native.GlobalService(mesh.LimitCluster, in.LimitTimeout, false)},
			named{native.GlobalDenyFilter, native.GlobalService(mesh.LimitCluster, in.LimitTimeout, true)})
	}
	list = append(list, named{native.FaultFilter, &faultv3.HTTPFault{}})
	var out []*hcmv3.HttpFilter
	for _, f := range list {
		filter, err := httpFilter(f.name, f.config)
		if err != nil {
			return nil, err
		}
		out = append(out, filter)
	}
	return out, nil
}

// limits tells whether RateLimits bear on what such a listener takes: what comes in to a workload, and a gateway.
func limits(k mesh.ListenerKind) bool {
	return k == mesh.ListenInbound || k == mesh.ListenVirtualInbound || k == mesh.ListenGateway
}

func (nativeHost) virtualHost(out *routev3.VirtualHost, h *mesh.VirtualHost) error {
	if h.RateLimit == nil {
		return nil
	}
	configs := map[string]proto.Message{}
	if c, _ := native.Limits(h.RateLimit, "mizzen"); c != nil {
		configs[native.LimitFilter] = c
	}
	if c, _ := native.Global(h.RateLimit, false); c != nil {
		configs[native.GlobalFilter] = c
	}
	if c, _ := native.Global(h.RateLimit, true); c != nil {
		configs[native.GlobalDenyFilter] = c
	}
	for name, c := range configs {
		config, err := toAny(c)
		if err != nil {
			return err
		}
		setConfig(&out.TypedPerFilterConfig, name, config)
	}
	return nil
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
