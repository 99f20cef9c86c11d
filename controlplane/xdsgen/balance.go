package xdsgen

import (
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matchv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// minimumRing is Istio's default ring size.
const minimumRing = 1024

// setLoadBalancer sets the policy; LEAST_REQUEST is Istio's default. Clusters that find hosts per request balance nothing.
func setLoadBalancer(out *clusterv3.Cluster, c *mesh.Cluster, lb *mesh.LoadBalancer) {
	if lb == nil {
		lb = &mesh.LoadBalancer{}
	}
	if passthrough(c) || c.Kind == mesh.ClusterOriginalDst || c.Kind == mesh.ClusterDynamicDNS {
		out.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
		return
	}
	if c.Kind == mesh.ClusterBlackHole || c.Inbound {
		return // no host, or one
	}
	switch lb.Kind {
	case "ROUND_ROBIN":
		out.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		if s := slowStart(lb); s != nil {
			out.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{
				RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: s},
			}
		}
	case "RANDOM":
		out.LbPolicy = clusterv3.Cluster_RANDOM
	case "RING_HASH":
		size := lb.MinimumRingSize
		if size == 0 {
			size = minimumRing
		}
		out.LbPolicy = clusterv3.Cluster_RING_HASH
		out.LbConfig = &clusterv3.Cluster_RingHashLbConfig_{
			RingHashLbConfig: &clusterv3.Cluster_RingHashLbConfig{MinimumRingSize: wrapperspb.UInt64(size)},
		}
	case "MAGLEV":
		out.LbPolicy = clusterv3.Cluster_MAGLEV
		if lb.TableSize > 0 {
			out.LbConfig = &clusterv3.Cluster_MaglevLbConfig_{
				MaglevLbConfig: &clusterv3.Cluster_MaglevLbConfig{TableSize: wrapperspb.UInt64(lb.TableSize)},
			}
		}
	default:
		out.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
		if s := slowStart(lb); s != nil {
			out.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{
				LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: s},
			}
		}
	}
}

func slowStart(lb *mesh.LoadBalancer) *clusterv3.Cluster_SlowStartConfig {
	if lb.Warmup <= 0 {
		return nil
	}
	out := &clusterv3.Cluster_SlowStartConfig{SlowStartWindow: durationpb.New(lb.Warmup)}
	if lb.WarmupMinimum != nil {
		out.MinWeightPercent = &typev3.Percent{Value: *lb.WarmupMinimum}
	}
	if lb.WarmupAggression != nil {
		out.Aggression = &corev3.RuntimeDouble{DefaultValue: *lb.WarmupAggression, RuntimeKey: "mizzen.warmup.aggression"}
	}
	return out
}

// setOutlier translates outlierDetection. Success-rate ejection is off, as in Istio; a detector set to 0 is kept but
// does not eject.
func setOutlier(out *clusterv3.Cluster, o *mesh.Outlier) {
	if o == nil {
		return
	}
	d := &clusterv3.OutlierDetection{
		EnforcingSuccessRate:           wrapperspb.UInt32(0),
		SplitExternalLocalOriginErrors: o.SplitLocalErrors,
	}
	d.Consecutive_5Xx, d.EnforcingConsecutive_5Xx = detector(o.Consecutive5xx)
	d.ConsecutiveGatewayFailure, d.EnforcingConsecutiveGatewayFailure = detector(o.ConsecutiveGatewayErrors)
	if o.SplitLocalErrors {
		d.ConsecutiveLocalOriginFailure, _ = detector(o.ConsecutiveLocalFailures)
		d.EnforcingConsecutiveLocalOriginFailure = wrapperspb.UInt32(100)
		d.EnforcingLocalOriginSuccessRate = wrapperspb.UInt32(0)
	}
	if o.Interval > 0 {
		d.Interval = durationpb.New(o.Interval)
	}
	if o.BaseEjection > 0 {
		d.BaseEjectionTime = durationpb.New(o.BaseEjection)
	}
	if o.MaxEjectionPercent > 0 {
		d.MaxEjectionPercent = wrapperspb.UInt32(o.MaxEjectionPercent)
	}
	out.OutlierDetection = d
	out.CommonLbConfig.HealthyPanicThreshold = &typev3.Percent{Value: float64(o.MinHealthPercent)}
}

// detector gives a threshold and how far it is enforced (percent); nil and nil leave Envoy's defaults.
func detector(n *uint32) (threshold, enforcing *wrapperspb.UInt32Value) {
	switch {
	case n == nil:
		return nil, nil
	case *n == 0:
		return wrapperspb.UInt32(0), wrapperspb.UInt32(0)
	}
	return wrapperspb.UInt32(*n), wrapperspb.UInt32(100)
}

// errorStatuses tells outlier detection which answers are errors; nil: 5xx.
func errorStatuses(o *mesh.Outlier) *httpv3.HttpProtocolOptions_OutlierDetection {
	if o == nil || len(o.ErrorCodes) == 0 {
		return nil
	}
	var any []*matcherv3.MatchPredicate
	for _, code := range o.ErrorCodes {
		any = append(any, &matcherv3.MatchPredicate{Rule: &matcherv3.MatchPredicate_HttpResponseHeadersMatch{
			HttpResponseHeadersMatch: &matcherv3.HttpHeadersMatch{Headers: []*routev3.HeaderMatcher{{
				Name: ":status",
				HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matchv3.StringMatcher{
					MatchPattern: &matchv3.StringMatcher_Exact{Exact: strconv.FormatUint(uint64(code), 10)},
				}},
			}}},
		}})
	}
	if len(any) == 1 {
		return &httpv3.HttpProtocolOptions_OutlierDetection{ErrorMatcher: any[0]}
	}
	return &httpv3.HttpProtocolOptions_OutlierDetection{ErrorMatcher: &matcherv3.MatchPredicate{
		Rule: &matcherv3.MatchPredicate_OrMatch{OrMatch: &matcherv3.MatchPredicate_MatchSet{Rules: any}},
	}}
}
