package xdsgen

import (
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// httpOptions is the name of the extension that holds a cluster's HTTP options.
const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// speech is which HTTP version a cluster speaks.
type speech uint8

const (
	speakHTTP1 speech = iota
	speakHTTP2
	speakDownstream // whatever the request came in with
)

// setProtocol sets the HTTP options, if any differ from Envoy's defaults.
func setProtocol(out *clusterv3.Cluster, c *mesh.Cluster, t mesh.Traffic, keepHeaderCase bool) error {
	p, http1 := t.Pool, &corev3.Http1ProtocolOptions{}
	if keepHeaderCase = keepHeaderCase && c.Protocol.IsHTTP(); keepHeaderCase {
		http1 = keepCase()
	}
	s := speaks(c, p)
	common := commonHTTP(p)
	names := setHostNames(c.TLS)
	var errors *httpv3.HttpProtocolOptions_OutlierDetection
	if !c.Inbound {
		errors = errorStatuses(t.Outlier)
	}
	if s == speakHTTP1 && common == nil && names == nil && errors == nil && !keepHeaderCase {
		return nil
	}
	opts := &httpv3.HttpProtocolOptions{CommonHttpProtocolOptions: common, UpstreamHttpProtocolOptions: names, OutlierDetection: errors}
	http2 := &corev3.Http2ProtocolOptions{}
	if p.MaxConcurrentStreams > 0 {
		http2.MaxConcurrentStreams = wrapperspb.UInt32(p.MaxConcurrentStreams)
	}
	if p.PingInterval > 0 {
		http2.ConnectionKeepalive = &corev3.KeepaliveSettings{Interval: durationpb.New(p.PingInterval), Timeout: optional(p.PingTimeout)}
	}
	switch s {
	case speakDownstream:
		opts.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions: http1, Http2ProtocolOptions: http2,
			},
		}
	case speakHTTP2:
		opts.UpstreamProtocolOptions = explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: http2},
		})
	default:
		opts.UpstreamProtocolOptions = explicit(&httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: http1},
		})
	}
	if c.Kind == mesh.ClusterDynamicDNS {
		// Envoy refuses a dynamic forward proxy that would not verify the name it resolved.
		opts.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: true, AutoSanValidation: true}
	}
	packed, err := toAny(opts)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	out.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpOptions: packed}
	return nil
}

func explicit(c *httpv3.HttpProtocolOptions_ExplicitHttpConfig) *httpv3.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: c}
}

// speaks chooses the version. An inbound HTTP port passes on what came (HTTP/1.1 or h2c); passthrough cannot know
// better than the caller.
func speaks(c *mesh.Cluster, p *mesh.ConnectionPool) speech {
	switch {
	case p.UseClientProtocol, c.Kind == mesh.ClusterOriginalDst, c.Kind == mesh.ClusterDynamicDNS,
		c.Protocol == mesh.Detected, c.Inbound && c.Protocol == mesh.HTTP:
		return speakDownstream
	case c.Protocol == mesh.GRPC, c.Protocol == mesh.HTTP2, c.Protocol == mesh.HTTP && p.Upgrade == "UPGRADE":
		return speakHTTP2
	}
	return speakHTTP1
}

// commonHTTP holds what both versions share; nil if nothing is set. The HTTP idle timeout wins over TCP's.
func commonHTTP(p *mesh.ConnectionPool) *corev3.HttpProtocolOptions {
	idle := p.IdleTimeout
	if idle == 0 {
		idle = p.TCPIdleTimeout
	}
	if idle == 0 && p.MaxRequestsPerConnection == 0 && p.MaxConnectionDuration == 0 {
		return nil
	}
	out := &corev3.HttpProtocolOptions{IdleTimeout: optional(idle), MaxConnectionDuration: optional(p.MaxConnectionDuration)}
	if p.MaxRequestsPerConnection > 0 {
		out.MaxRequestsPerConnection = wrapperspb.UInt32(p.MaxRequestsPerConnection)
	}
	return out
}

// optional is nil for 0.
func optional(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
