// Package bootstrap makes the first configuration of a sidecar or gateway Envoy: who it is, where its control plane
// is, and its administration page. Everything else comes over ADS. Used by the local mesh, the injector and tests.
package bootstrap

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Options say what differs between proxies.
type Options struct {
	// NodeID is Istio's form: "sidecar~IP~pod.namespace~namespace.svc.cluster.local", or "router~...". Required.
	NodeID string
	// Cluster is the node's cluster, by Istio's convention "app.namespace"; "" takes the namespace of NodeID.
	Cluster string
	// Metadata is the node's, Istio's names: NAMESPACE, LABELS, INTERCEPTION_MODE..., and Mizzen's (MIZZEN_FILTERS...).
	// Values as encoding/json knows them.
	Metadata map[string]any
	// Locality is "region/zone/subzone"; "" for none.
	Locality string
	// XDSAddress is host:port of the control plane. Required, unless there is an XDSSocket.
	XDSAddress string
	// XDSSocket is the Unix socket of an agent that speaks with the control plane for the proxy.
	XDSSocket string
	// XDSServerName is the name in the control plane's certificate: XDSAddress takes mutual TLS, with the certificate and the roots
	// that SDSSocket serves. "": plaintext.
	XDSServerName string
	// SDSSocket is the Unix socket of the agent that serves the workload's certificate, as cluster SDSCluster; "": there is none.
	SDSSocket string
	// StateOfTheWorld asks for whole lists on every change instead of the differences (delta, the default).
	StateOfTheWorld bool
	// AdminAddress is an IP address, "" 127.0.0.1. AdminPort 0 lets the system choose (--admin-address-path tells).
	AdminAddress string
	AdminPort    uint32
	// Runtime are values of Envoy's runtime beside Mizzen's own.
	Runtime map[string]string
	// Status are the listeners for those who look at the proxy.
	Status Status
	// Statsd is host:port that gets statistics over UDP, every 5 s; the host is an IP address. "": nobody.
	Statsd string
	// MaxConnections to all listeners together; 0: no limit.
	MaxConnections uint32
	// StatsTags adds tags to the few that Config knows.
	StatsTags []StatsTag
}

// Args are the flags to start Envoy with, besides -c and log flags: workers threads (0: 1), and no hot restart, which
// would keep shared memory and a base id for each Envoy of the machine.
func Args(workers int) []string {
	return []string{"--disable-hot-restart", "--concurrency", strconv.Itoa(max(workers, 1))}
}

// StatsTag takes a label out of a statistic's name by an ECMAScript-like regular expression: its first group is removed
// from the name, its second is the value. "" is Envoy's own extractor of that name.
type StatsTag struct{ Name, Regex string }

// Config is the bootstrap as JSON, the same for the same options.
func Config(o Options) ([]byte, error) {
	b, err := build(o)
	if err != nil {
		return nil, fmt.Errorf("make bootstrap of %q: %w", o.NodeID, err)
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("make bootstrap of %q: %w", o.NodeID, err)
	}
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode bootstrap of %q: %w", o.NodeID, err)
	}
	return stable(raw)
}

// stable rewrites protojson's output, which varies its white space on purpose, with sorted keys and indentation.
func stable(raw []byte) ([]byte, error) {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("format bootstrap: %w", err)
	}
	return json.MarshalIndent(v, "", "  ")
}

func build(o Options) (*bootstrapv3.Bootstrap, error) {
	n, err := Node(o)
	if err != nil {
		return nil, err
	}
	xds, err := controlPlane(o)
	if err != nil {
		return nil, err
	}
	limits, err := overload(o.MaxConnections)
	if err != nil {
		return nil, err
	}
	admin := o.AdminAddress
	if admin == "" {
		admin = "127.0.0.1"
	}
	clusters := []*clusterv3.Cluster{xds}
	if o.SDSSocket != "" {
		agent, err := socketCluster(SDSCluster, o.SDSSocket)
		if err != nil {
			return nil, err
		}
		clusters = append(clusters, agent)
	}
	listeners, behind, err := o.Status.listeners(admin, o.AdminPort)
	if err != nil {
		return nil, err
	}
	out := &bootstrapv3.Bootstrap{
		Node:            n,
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Listeners: listeners, Clusters: append(clusters, behind...)},
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: ads(o.StateOfTheWorld), LdsConfig: overADS(), CdsConfig: overADS(),
		},
		Admin: &bootstrapv3.Admin{Address: address(admin, o.AdminPort)},
		LayeredRuntime: &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{
			{Name: "mizzen", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: runtimeValues(o.Runtime)}},
			{Name: "admin", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}},
		}},
		OverloadManager: limits,
		StatsConfig:     statsConfig(o.StatsTags),
		// Nothing reads statistics but the administration page, so they are merged when it is asked, not every 5 s.
		StatsFlush: &bootstrapv3.Bootstrap_StatsFlushOnAdmin{StatsFlushOnAdmin: true},
		// Statistics of a cluster are made when it first carries traffic: with 900 clusters that saves three quarters
		// of the CPU of a start and 20 MB.
		DeferredStatOptions: &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
	}
	return out, setStatsd(out, o.Statsd)
}

// controlPlane is the cluster that configuration comes from.
func controlPlane(o Options) (*clusterv3.Cluster, error) {
	if o.XDSSocket != "" {
		return socketCluster(XDSCluster, o.XDSSocket)
	}
	xds, err := xdsCluster(o.XDSAddress)
	if err != nil || o.XDSServerName == "" {
		return xds, err
	}
	if o.SDSSocket == "" {
		return nil, errors.New("mutual TLS with the control plane needs an agent: no SDS socket")
	}
	xds.TransportSocket, err = xdsTLS(o.XDSServerName)
	return xds, err
}

// Node says who the proxy is, as Envoy will: an agent asks by it for what Envoy does not.
func Node(o Options) (*corev3.Node, error) {
	if o.NodeID == "" {
		return nil, errors.New("no node id")
	}
	metadata, err := toStruct(o.Metadata)
	if err != nil {
		return nil, fmt.Errorf("node metadata: %w", err)
	}
	out := &corev3.Node{Id: o.NodeID, Cluster: o.Cluster, Metadata: metadata}
	if out.Cluster == "" {
		out.Cluster = clusterOf(o.NodeID)
	}
	if o.Locality != "" {
		p := append(strings.SplitN(o.Locality, "/", 3), "", "")
		out.Locality = &corev3.Locality{Region: p[0], Zone: p[1], SubZone: p[2]}
	}
	return out, nil
}

// clusterOf is the namespace in a node id, or the whole id: Envoy refuses an empty cluster.
func clusterOf(id string) string {
	if p := strings.Split(id, "~"); len(p) == 4 {
		if namespace, _, _ := strings.Cut(p[3], "."); namespace != "" {
			return namespace
		}
	}
	return id
}

// toStruct goes through JSON, so that every Go value that encodes (map[string]string, []uint32...) may be given.
func toStruct(m map[string]any) (*structpb.Struct, error) {
	if len(m) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	out := &structpb.Struct{}
	return out, protojson.Unmarshal(raw, out)
}

// runtimeValues are Istio's own, as far as they mean something to stock Envoy, and the user's, which win. Numbers and booleans are
// written as such: Envoy takes flags no other way.
func runtimeValues(own map[string]string) *structpb.Struct {
	out := &structpb.Struct{Fields: map[string]*structpb.Value{
		// Regular expressions of a VirtualService may be up to 1024 characters long.
		"re2.max_program_size.error_level": structpb.NewNumberValue(32768),
	}}
	for name, text := range own {
		v := structpb.NewStringValue(text)
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			v = structpb.NewNumberValue(n)
		} else if b, err := strconv.ParseBool(text); err == nil {
			v = structpb.NewBoolValue(b)
		}
		out.Fields[name] = v
	}
	return out
}

// overload limits a proxy's connections; without a limit it says so, for Envoy warns at every start where nothing does.
func overload(limit uint32) (*overloadv3.OverloadManager, error) {
	config, err := anypb.New(&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: int64(cmp.Or(limit, math.MaxInt32))})
	if err != nil {
		return nil, fmt.Errorf("overload manager: %w", err)
	}
	return &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
		Name:       "envoy.resource_monitors.global_downstream_max_connections",
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: config},
	}}}, nil
}

// overADS takes a resource type from the ADS stream. No fetch timeout: without its control plane a new proxy waits.
func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   &durationpb.Duration{},
	}
}

func address(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// split parses host:port.
func split(hostport string) (host string, port uint32, err error) {
	host, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0, fmt.Errorf("control plane address: %w", err)
	}
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, fmt.Errorf("control plane address %q: want host:port", hostport)
	}
	return host, uint32(n), nil
}
