package compile

import (
	"slices"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1alpha3"
)

// traffic lowers a TrafficPolicy; nil for nil.
func traffic(in *networking.TrafficPolicy) *mesh.Traffic {
	if in == nil {
		return nil
	}
	out := &mesh.Traffic{
		LoadBalancer: loadBalancer(in.GetLoadBalancer()),
		Pool:         connectionPool(in.GetConnectionPool()),
		Outlier:      outlier(in.GetOutlierDetection()),
		TLS:          clientTLS(in.GetTls()),
	}
	for _, p := range in.GetPortLevelSettings() {
		out.Ports = setTraffic(out.Ports, p.GetPort().GetNumber(), &mesh.Traffic{
			LoadBalancer: loadBalancer(p.GetLoadBalancer()),
			Pool:         connectionPool(p.GetConnectionPool()),
			Outlier:      outlier(p.GetOutlierDetection()),
			TLS:          clientTLS(p.GetTls()),
		})
	}
	out.RetryBudget, out.ProxyProtocol = retryBudget(in.GetRetryBudget()), proxyProtocol(in.GetProxyProtocol())
	out.Tunnel = tunnel(in.GetTunnel())
	shareWithPorts(out)
	return out
}

// shareWithPorts gives the ports what no port has settings of its own for.
func shareWithPorts(t *mesh.Traffic) {
	for n, p := range t.Ports {
		own := *p
		own.RetryBudget, own.ProxyProtocol, own.Tunnel = t.RetryBudget, t.ProxyProtocol, t.Tunnel
		t.Ports[n] = &own
	}
}

func retryBudget(in *networking.TrafficPolicy_RetryBudget) *mesh.RetryBudget {
	if in == nil {
		return nil
	}
	out := &mesh.RetryBudget{Percent: 20, Minimum: in.GetMinRetryConcurrency(), Interval: duration(in.GetBudgetInterval())}
	if p := in.GetPercent(); p != nil {
		out.Percent = p.GetValue()
	}
	return out
}

func tunnel(in *networking.TrafficPolicy_TunnelSettings) *mesh.Tunnel {
	if in == nil {
		return nil
	}
	return &mesh.Tunnel{Post: in.GetProtocol() == "POST", Host: in.GetTargetHost(), Port: in.GetTargetPort()}
}

func proxyProtocol(in *networking.TrafficPolicy_ProxyProtocol) uint8 {
	switch {
	case in == nil:
		return 0
	case in.GetVersion() == networking.TrafficPolicy_ProxyProtocol_V2:
		return 2
	}
	return 1
}

func loadBalancer(in *networking.LoadBalancerSettings) *mesh.LoadBalancer {
	if in == nil {
		return nil
	}
	w := in.GetWarmup()
	out := &mesh.LoadBalancer{
		Kind: "LEAST_REQUEST", Warmup: duration(w.GetDuration()),
		Locality: locality(in), WarmupMinimum: real(w.GetMinimumPercent()), WarmupAggression: real(w.GetAggression()),
	}
	if h := in.GetConsistentHash(); h != nil {
		consistentHash(out, h)
		return out
	}
	switch in.GetSimple() {
	case networking.LoadBalancerSettings_ROUND_ROBIN:
		out.Kind = "ROUND_ROBIN"
	case networking.LoadBalancerSettings_RANDOM:
		out.Kind = "RANDOM"
	case networking.LoadBalancerSettings_PASSTHROUGH:
		out.Kind = "PASSTHROUGH"
	}
	return out
}

func consistentHash(out *mesh.LoadBalancer, in *networking.LoadBalancerSettings_ConsistentHashLB) {
	out.Kind = "RING_HASH"
	switch a := in.GetHashAlgorithm().(type) {
	case *networking.LoadBalancerSettings_ConsistentHashLB_RingHash_:
		out.MinimumRingSize = a.RingHash.GetMinimumRingSize()
	case *networking.LoadBalancerSettings_ConsistentHashLB_Maglev:
		out.Kind, out.MinimumRingSize, out.TableSize = "MAGLEV", 0, a.Maglev.GetTableSize()
	}
	switch k := in.GetHashKey().(type) {
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		out.Hash = &mesh.HashKey{Header: k.HttpHeaderName}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		out.Hash = &mesh.HashKey{QueryParameter: k.HttpQueryParameterName}
	case *networking.LoadBalancerSettings_ConsistentHashLB_UseSourceIp:
		if k.UseSourceIp {
			out.Hash = &mesh.HashKey{SourceIP: true}
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		ck := &mesh.HashCookie{Name: k.HttpCookie.GetName(), Path: k.HttpCookie.GetPath()}
		if t := k.HttpCookie.GetTtl(); t != nil {
			ttl := t.AsDuration()
			ck.TTL = &ttl
		}
		for _, a := range k.HttpCookie.GetAttributes() {
			ck.Attributes = append(ck.Attributes, mesh.CookieAttribute{Name: a.GetName(), Value: a.GetValue()})
		}
		out.Hash = &mesh.HashKey{Cookie: ck}
	}
}

func connectionPool(in *networking.ConnectionPoolSettings) *mesh.ConnectionPool {
	if in == nil {
		return nil
	}
	tcp, http := in.GetTcp(), in.GetHttp()
	out := &mesh.ConnectionPool{
		MaxConnections:           positive(tcp.GetMaxConnections()),
		ConnectTimeout:           duration(tcp.GetConnectTimeout()),
		TCPIdleTimeout:           duration(tcp.GetIdleTimeout()),
		MaxConnectionDuration:    duration(tcp.GetMaxConnectionDuration()),
		MaxPendingRequests:       positive(http.GetHttp1MaxPendingRequests()),
		MaxRequests:              positive(http.GetHttp2MaxRequests()),
		MaxRequestsPerConnection: positive(http.GetMaxRequestsPerConnection()),
		MaxRetries:               positive(http.GetMaxRetries()),
		IdleTimeout:              duration(http.GetIdleTimeout()),
		UseClientProtocol:        http.GetUseClientProtocol(),
		MaxConcurrentStreams:     positive(http.GetMaxConcurrentStreams()),
		PingInterval:             duration(http.GetHttp2KeepAlive().GetInterval()),
		PingTimeout:              duration(http.GetHttp2KeepAlive().GetTimeout()),
	}
	if k := tcp.GetTcpKeepalive(); k != nil {
		setKeepalive(out, k)
	}
	switch http.GetH2UpgradePolicy() {
	case networking.ConnectionPoolSettings_HTTPSettings_UPGRADE:
		out.Upgrade = "UPGRADE"
	case networking.ConnectionPoolSettings_HTTPSettings_DO_NOT_UPGRADE:
		out.Upgrade = "DO_NOT_UPGRADE"
	}
	return out
}

func setKeepalive(out *mesh.ConnectionPool, k *networking.ConnectionPoolSettings_TCPSettings_TcpKeepalive) {
	out.Keepalive, out.KeepaliveProbes = true, k.GetProbes()
	out.KeepaliveTime, out.KeepaliveInterval = duration(k.GetTime()), duration(k.GetInterval())
}

func outlier(in *networking.OutlierDetection) *mesh.Outlier {
	if in == nil {
		return nil
	}
	return &mesh.Outlier{
		Consecutive5xx:           number(in.GetConsecutive_5XxErrors()),
		ConsecutiveGatewayErrors: number(in.GetConsecutiveGatewayErrors()),
		SplitLocalErrors:         in.GetSplitExternalLocalOriginErrors(),
		ConsecutiveLocalFailures: number(in.GetConsecutiveLocalOriginFailures()),
		Interval:                 duration(in.GetInterval()),
		BaseEjection:             duration(in.GetBaseEjectionTime()),
		MaxEjectionPercent:       positive(in.GetMaxEjectionPercent()),
		MinHealthPercent:         positive(in.GetMinHealthPercent()),
		ErrorCodes:               errorCodes(in.GetOutlierDetectionHttpErrorCodes()),
	}
}

func positive(v int32) uint32 { return uint32(max(v, 0)) }

func number(v *wrapperspb.UInt32Value) *uint32 {
	if v == nil {
		return nil
	}
	n := v.GetValue()
	return &n
}

func real(v *wrapperspb.DoubleValue) *float64 {
	if v == nil {
		return nil
	}
	n := v.GetValue()
	return &n
}

func errorCodes(in []uint32) []uint32 { return slices.Compact(slices.Sorted(slices.Values(in))) }
