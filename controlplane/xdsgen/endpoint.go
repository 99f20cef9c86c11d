package xdsgen

import (
	"maps"
	"math"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// unixScheme begins the address of an endpoint that is a Unix socket: "unix:///run/app.sock".
const unixScheme = "unix://"

// buildEndpoints makes the ClusterLoadAssignment of an EDS cluster; a group without endpoints gives an empty one, so
// that Envoy need not wait for it.
func buildEndpoints(g *mesh.EndpointGroup) (*Resource, error) {
	r, err := resource(g.Cluster, loadAssignment(g.Cluster, g.Endpoints, g.Places, g.Named))
	if err != nil {
		return nil, err
	}
	r.Clusters = []string{g.Cluster}
	return r, nil
}

// loadAssignment lists endpoints by place: as the view arranged them, or, all alike, by locality. A place's weight is the sum of
// its endpoints', as Istio has it, if it has none of its own. named: see mesh.EndpointGroup.
func loadAssignment(cluster string, endpoints []*mesh.Endpoint, places []*mesh.Place, named bool) *endpointv3.ClusterLoadAssignment {
	if places == nil {
		places = byLocality(endpoints)
	} else {
		endpoints = nil
		for _, p := range places {
			endpoints = append(endpoints, p.Endpoints...)
		}
	}
	shrink := shrinkage(endpoints)
	out := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	for _, p := range places {
		l := &endpointv3.LocalityLbEndpoints{Locality: locality(p.Locality), Priority: p.Priority}
		var weight uint32
		for _, e := range p.Endpoints {
			l.LbEndpoints = append(l.LbEndpoints, namedEndpoint(e, shrink, named))
			weight += max(e.Weight/shrink, 1)
		}
		if p.Weight > 0 {
			weight = p.Weight
		}
		l.LoadBalancingWeight = wrapperspb.UInt32(weight)
		out.Endpoints = append(out.Endpoints, l)
	}
	return out
}

func byLocality(endpoints []*mesh.Endpoint) []*mesh.Place {
	groups := map[string]*mesh.Place{}
	for _, e := range endpoints {
		if groups[e.Locality] == nil {
			groups[e.Locality] = &mesh.Place{Locality: e.Locality}
		}
		groups[e.Locality].Endpoints = append(groups[e.Locality].Endpoints, e)
	}
	var out []*mesh.Place
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, groups[name])
	}
	return out
}

// shrinkage is what weights are divided by so that Envoy, with 32 bits, can add them up.
func shrinkage(endpoints []*mesh.Endpoint) uint32 {
	var sum uint64
	for _, e := range endpoints {
		sum += uint64(max(e.Weight, 1))
	}
	if sum <= math.MaxUint32 {
		return 1
	}
	return uint32(sum/(math.MaxUint32/2)) + 1
}

func lbEndpoint(e *mesh.Endpoint, shrink uint32) *endpointv3.LbEndpoint {
	address := socket(e.Address, e.Port)
	if path, ok := strings.CutPrefix(e.Address, unixScheme); ok {
		address = &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
	}
	out := &endpointv3.LbEndpoint{
		HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address}},
		Metadata:       endpointMetadata(e),
	}
	if e.Weight > 0 {
		out.LoadBalancingWeight = wrapperspb.UInt32(max(e.Weight/shrink, 1))
	}
	if e.Draining {
		out.HealthStatus = corev3.HealthStatus_DRAINING
	}
	return out
}

// locality splits Istio's "region/zone/subzone"; nil for "".
func locality(s string) *corev3.Locality {
	if s == "" {
		return nil
	}
	p := strings.SplitN(s, "/", 3)
	p = append(p, "", "")
	return &corev3.Locality{Region: p[0], Zone: p[1], SubZone: p[2]}
}

// socket is a TCP address; an empty one is every IPv4 address.
func socket(address string, port uint32) *corev3.Address {
	if address == "" {
		address = "0.0.0.0"
	}
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}
