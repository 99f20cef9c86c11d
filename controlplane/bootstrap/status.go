package bootstrap

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Status are the listeners by which others look at a proxy in a pod: both are there as soon as Envoy takes traffic, and go with it. 0: not.
type Status struct {
	// ReadyPort answers /healthz/ready for kubelet (Istio: 15021), by asking AgentPort on loopback (15020).
	ReadyPort, AgentPort uint32
	// MetricsPort answers /stats/prometheus (15090) from the administration page.
	MetricsPort uint32
	// Addresses of the pod: the listeners are on all of their families. None: IPv4.
	Addresses []string
}

// listeners are those of Status with the clusters behind them.
func (s Status) listeners(admin string, adminPort uint32) ([]*listenerv3.Listener, []*clusterv3.Cluster, error) {
	all, more := mesh.FamiliesOf(s.Addresses).Any()
	var listeners []*listenerv3.Listener
	var clusters []*clusterv3.Cluster
	for _, x := range []struct {
		port                uint32
		path, cluster, host string
		to                  uint32
	}{
		{s.ReadyPort, "/healthz/ready", "agent", "127.0.0.1", s.AgentPort},
		{s.MetricsPort, "/stats/prometheus", "prometheus_stats", admin, adminPort},
	} {
		if x.port == 0 || x.to == 0 {
			continue
		}
		chain, err := forward(x.path, x.cluster)
		if err != nil {
			return nil, nil, err
		}
		var additional []*listenerv3.AdditionalAddress
		for _, a := range more {
			additional = append(additional, &listenerv3.AdditionalAddress{Address: address(a, x.port)})
		}
		listeners = append(listeners, &listenerv3.Listener{
			Name: fmt.Sprintf("%s_%d", all, x.port), Address: address(all, x.port), AdditionalAddresses: additional, TrafficDirection: corev3.TrafficDirection_INBOUND,
			FilterChains: []*listenerv3.FilterChain{chain}, BypassOverloadManager: true,
		})
		clusters = append(clusters, &clusterv3.Cluster{
			Name: x.cluster, AltStatName: x.cluster + ";", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			ConnectTimeout: durationpb.New(connectLocally),
			LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: x.cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
				LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(x.host, x.to)}}}},
			}}},
		})
	}
	return listeners, clusters, nil
}

// forward serves one path from a cluster.
func forward(path, cluster string) (*listenerv3.FilterChain, error) {
	router, err := anypb.New(&routerv3.Router{})
	if err != nil {
		return nil, fmt.Errorf("status listener: %w", err)
	}
	hcm, err := anypb.New(&hcmv3.HttpConnectionManager{
		StatPrefix: cluster + ";",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
			Name: "backend", Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster}}},
			}},
		}}}},
		HttpFilters: []*hcmv3.HttpFilter{{Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router}}},
	})
	if err != nil {
		return nil, fmt.Errorf("status listener: %w", err)
	}
	return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name: "envoy.filters.network.http_connection_manager", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: hcm},
	}}}, nil
}
