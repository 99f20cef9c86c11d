package xdsgen

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/proxy_protocol/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
)

// setProxyProtocol begins every connection with a PROXY header, before TLS if there is any.
func setProxyProtocol(out *clusterv3.Cluster, version uint8) {
	if version == 0 {
		return
	}
	config := &corev3.ProxyProtocolConfig{Version: corev3.ProxyProtocolConfig_V1}
	if version == 2 {
		config.Version = corev3.ProxyProtocolConfig_V2
	}
	wrap := func(inner *corev3.TransportSocket) *corev3.TransportSocket {
		if inner == nil {
			inner = &corev3.TransportSocket{
				Name: rawSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(&rawv3.RawBuffer{})},
			}
		}
		return &corev3.TransportSocket{
			Name: "envoy.transport_sockets.upstream_proxy_protocol",
			ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(&proxyv3.ProxyProtocolUpstreamTransport{
				Config: config, TransportSocket: inner,
			})},
		}
	}
	for _, m := range out.TransportSocketMatches {
		m.TransportSocket = wrap(m.TransportSocket)
	}
	if len(out.TransportSocketMatches) == 0 {
		out.TransportSocket = wrap(out.TransportSocket)
	}
}
