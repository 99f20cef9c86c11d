package bootstrap

import (
	"fmt"
	"net/netip"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// XDSCluster is the name of the static cluster that holds the control plane, as Istio's.
const XDSCluster = "xds-grpc"

// The stream comes back this fast after the control plane was away: first try, and the longest pause between tries.
const (
	reconnectFirst = 100 * time.Millisecond
	reconnectMax   = time.Second
)

// ads opens one stream for all types.
func ads(stateOfTheWorld bool) *corev3.ApiConfigSource {
	kind := corev3.ApiConfigSource_DELTA_GRPC
	if stateOfTheWorld {
		kind = corev3.ApiConfigSource_GRPC
	}
	return &corev3.ApiConfigSource{
		ApiType: kind, TransportApiVersion: corev3.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: XDSCluster,
				RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
					BaseInterval: durationpb.New(reconnectFirst), MaxInterval: durationpb.New(reconnectMax),
				}},
			},
		}}},
	}
}

// xdsCluster is the control plane. A peer that vanished without a word is noticed by HTTP/2 pings after at most 20 s.
func xdsCluster(hostport string) (*clusterv3.Cluster, error) {
	host, port, err := split(hostport)
	if err != nil {
		return nil, err
	}
	kind := clusterv3.Cluster_STATIC
	if _, err := netip.ParseAddr(host); err != nil {
		kind = clusterv3.Cluster_STRICT_DNS
	}
	opts, err := anypb.New(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
						Interval: durationpb.New(15 * time.Second), Timeout: durationpb.New(5 * time.Second),
					}},
				},
			},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("control plane cluster: %w", err)
	}
	unlimited := wrapperspb.UInt32(100_000)
	return &clusterv3.Cluster{
		Name: XDSCluster, AltStatName: XDSCluster + ";", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: kind},
		DnsLookupFamily: clusterv3.Cluster_V4_PREFERRED,
		ConnectTimeout:  durationpb.New(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: XDSCluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
				Endpoint: &endpointv3.Endpoint{Address: address(host, port)},
			}}},
		}}},
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: unlimited, MaxPendingRequests: unlimited, MaxRequests: unlimited,
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": opts},
		UpstreamConnectionOptions: &clusterv3.UpstreamConnectionOptions{
			TcpKeepalive: &corev3.TcpKeepalive{KeepaliveTime: wrapperspb.UInt32(300)},
		},
	}, nil
}
