package xdsgen

import (
	"cmp"
	"math"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dnsclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	dfpclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dfpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// defaultConnectTimeout is Istio's.
const defaultConnectTimeout = 10 * time.Second

// clusterInput is all that a cluster is made of.
type clusterInput struct {
	Cluster *mesh.Cluster
	clusterContext
}

// clusterContext is what a cluster takes from its proxy and mesh.
type clusterContext struct {
	Families       mesh.Families
	ConnectTimeout time.Duration // 0: Istio's
	AppAddress     string        // of inbound clusters without hosts; "": loopback
	DNSRefresh     time.Duration // 0: Envoy's
	Buffer         uint32        // of a connection, bytes; 0: Envoy's
	KeepHeaderCase bool
}

// usesEDS tells whether Envoy asks for the cluster's endpoints. PASSTHROUGH ignores them: the connection goes where
// the caller meant it to go.
func usesEDS(c *mesh.Cluster) bool { return c.Kind == mesh.ClusterEDS && !passthrough(c) }

// passthrough tells whether a policy turns an EDS cluster into one that goes where the caller meant to go.
func passthrough(c *mesh.Cluster) bool {
	return c.Kind == mesh.ClusterEDS && c.Traffic != nil && c.Traffic.LoadBalancer != nil &&
		c.Traffic.LoadBalancer.Kind == "PASSTHROUGH"
}

// traffic is c's policy with every block present.
func traffic(c *mesh.Cluster) mesh.Traffic {
	var t mesh.Traffic
	if c.Traffic != nil {
		t = *c.Traffic
	}
	if t.Pool == nil {
		t.Pool = &mesh.ConnectionPool{}
	}
	return t
}

func buildCluster(in clusterInput) (*Resource, error) {
	c, t := in.Cluster, traffic(in.Cluster)
	out := &clusterv3.Cluster{
		Name: c.Name,
		// Istio ends the name in statistics with ";", so that dots inside it do not cut it short.
		AltStatName:     cmp.Or(c.StatName, c.Name) + ";",
		ConnectTimeout:  durationpb.New(connectTimeout(t.Pool, in.ConnectTimeout)),
		CircuitBreakers: circuitBreakers(t.Pool, t.RetryBudget),
		Metadata:        clusterMetadata(c),
		// Panic (sending to unhealthy hosts when most are) is off, as Istio has it for few pods per service.
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{}},
	}
	if c.Distributed {
		out.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
			LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
		}
	}
	if in.Buffer > 0 {
		out.PerConnectionBufferLimitBytes = wrapperspb.UInt32(in.Buffer)
	}
	if t.Pool.Keepalive {
		out.UpstreamConnectionOptions = keepalive(t.Pool)
	}
	if !c.Inbound {
		setOutlier(out, t.Outlier)
	}
	setDiscovery(out, in)
	setLoadBalancer(out, c, t.LoadBalancer)
	if err := setProtocol(out, c, t, in.KeepHeaderCase); err != nil {
		return nil, err
	}
	if err := setTransport(out, c); err != nil {
		return nil, err
	}
	setProxyProtocol(out, t.ProxyProtocol)
	r, err := resource(c.Name, out)
	if err != nil {
		return nil, err
	}
	r.Origins = c.Origins
	return r, nil
}

func connectTimeout(p *mesh.ConnectionPool, mesh time.Duration) time.Duration {
	switch {
	case p.ConnectTimeout > 0:
		return p.ConnectTimeout
	case mesh > 0:
		return mesh
	}
	return defaultConnectTimeout
}

// circuitBreakers lifts Envoy's own limits (1024 connections, 3 retries) where the user set none. A retry budget takes the place
// of the limit of retries.
func circuitBreakers(p *mesh.ConnectionPool, b *mesh.RetryBudget) *clusterv3.CircuitBreakers {
	limit := func(n uint32) *wrapperspb.UInt32Value {
		if n == 0 {
			n = math.MaxUint32
		}
		return wrapperspb.UInt32(n)
	}
	out := &clusterv3.CircuitBreakers_Thresholds{
		MaxConnections: limit(p.MaxConnections), MaxPendingRequests: limit(p.MaxPendingRequests),
		MaxRequests: limit(p.MaxRequests), MaxRetries: limit(p.MaxRetries),
	}
	if b != nil {
		out.RetryBudget = &clusterv3.CircuitBreakers_Thresholds_RetryBudget{
			BudgetPercent: &typev3.Percent{Value: b.Percent}, BudgetInterval: optional(b.Interval),
		}
		if b.Minimum > 0 {
			out.RetryBudget.MinRetryConcurrency = wrapperspb.UInt32(b.Minimum)
		}
	}
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{out}}
}

func keepalive(p *mesh.ConnectionPool) *clusterv3.UpstreamConnectionOptions {
	k := &corev3.TcpKeepalive{}
	if p.KeepaliveProbes > 0 {
		k.KeepaliveProbes = wrapperspb.UInt32(p.KeepaliveProbes)
	}
	if p.KeepaliveTime > 0 {
		k.KeepaliveTime = wrapperspb.UInt32(uint32(p.KeepaliveTime / time.Second))
	}
	if p.KeepaliveInterval > 0 {
		k.KeepaliveInterval = wrapperspb.UInt32(uint32(p.KeepaliveInterval / time.Second))
	}
	return &clusterv3.UpstreamConnectionOptions{TcpKeepalive: k}
}

// setDiscovery says how the hosts are found.
func setDiscovery(out *clusterv3.Cluster, in clusterInput) {
	c := in.Cluster
	kind := c.Kind
	if passthrough(c) {
		kind = mesh.ClusterOriginalDst
	}
	switch kind {
	case mesh.ClusterEDS:
		setType(out, clusterv3.Cluster_EDS)
		out.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: adsSource(), ServiceName: c.Name}
	case mesh.ClusterStrictDNS, mesh.ClusterLogicalDNS:
		setDNS(out, kind == mesh.ClusterLogicalDNS, in.DNSRefresh, in.Families)
		out.LoadAssignment = loadAssignment(c.Name, c.Hosts, c.Places, false)
	case mesh.ClusterOriginalDst:
		setType(out, clusterv3.Cluster_ORIGINAL_DST)
		if c.Inbound {
			out.UpstreamBindConfig = inboundBind(in.Families)
		}
	case mesh.ClusterDynamicDNS:
		out.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy",
			TypedConfig: mustAny(&dfpclusterv3.ClusterConfig{
				ClusterImplementationSpecifier: &dfpclusterv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: dnsCache(in.Families)},
			}),
		}}
	case mesh.ClusterStatic:
		setType(out, clusterv3.Cluster_STATIC)
		out.LoadAssignment = loadAssignment(c.Name, staticHosts(in), nil, false)
	default:
		setType(out, clusterv3.Cluster_STATIC)
	}
}

// setDNS has Envoy look the hosts up: every 5 s, where nothing is said; its resolver (c-ares) answers from its cache until the
// name's TTL ends. The fields by which Istio sets the rate are deprecated, each would be a warning in Envoy's log: hence the
// extension in their place.
func setDNS(out *clusterv3.Cluster, logical bool, refresh time.Duration, f mesh.Families) {
	if refresh > 0 {
		out.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.cluster.dns",
			TypedConfig: mustAny(&dnsclusterv3.DnsCluster{
				DnsRefreshRate: durationpb.New(refresh), DnsLookupFamily: dnsFamily(f), AllAddressesInSingleEndpoint: logical,
			}),
		}}
		return
	}
	setType(out, clusterv3.Cluster_STRICT_DNS)
	if logical {
		setType(out, clusterv3.Cluster_LOGICAL_DNS)
	}
	out.DnsLookupFamily = lookupFamily(f)
}

func setType(out *clusterv3.Cluster, t clusterv3.Cluster_DiscoveryType) {
	out.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: t}
}

// staticHosts is the application itself for an inbound cluster that lists nothing.
func staticHosts(in clusterInput) []*mesh.Endpoint {
	c := in.Cluster
	if len(c.Hosts) > 0 || !c.Inbound {
		return c.Hosts
	}
	app := in.AppAddress
	if app == "" {
		app = in.Families.Loopback()
	}
	return []*mesh.Endpoint{{Address: app, Port: c.Port}}
}

// dnsCache must be the same in the cluster and in the filter: Envoy finds the cache by name and compares.
func dnsCache(f mesh.Families) *dfpv3.DnsCacheConfig {
	return &dfpv3.DnsCacheConfig{Name: "mizzen", DnsLookupFamily: lookupFamily(f)}
}

// clusterMetadata is what istioctl and Kiali read: filter_metadata.istio.{config, default_original_port, services, subset}.
func clusterMetadata(c *mesh.Cluster) *corev3.Metadata {
	fields := map[string]any{}
	for _, o := range c.Origins {
		if o.Kind == "DestinationRule" {
			fields["config"] = configPath(o)
			break
		}
	}
	if c.Hostname != "" {
		fields["services"] = []any{map[string]any{
			"host": c.Hostname, "name": serviceName(c.Hostname, c.Namespace), "namespace": c.Namespace,
		}}
		if c.Port > 0 && !c.Inbound {
			fields["default_original_port"] = c.Port
		}
	}
	if c.Subset != "" {
		fields["subset"] = c.Subset
	}
	if c.Protocol == mesh.Detected && c.TLS != nil && c.TLS.Mesh {
		fields[requestALPN] = strings.Join(append([]string{"istio-http/1.1"}, meshBytes()...), ",")
	}
	return metadata(fields)
}

// serviceName is the Kubernetes name of a host name, or the host name.
func serviceName(host, namespace string) string {
	if name, _, ok := strings.Cut(host, "."+namespace+".svc."); ok && namespace != "" {
		return name
	}
	return host
}
