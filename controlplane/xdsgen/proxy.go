package xdsgen

import (
	"cmp"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	preservecasev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/header_formatters/preserve_case/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// setProxy sets what the mesh's defaultConfig or the pod's annotation may say of a proxy's HTTP connections.
func setProxy(out *hcmv3.HttpConnectionManager, in listenerInput, role httpRole) {
	p := in.Proxy
	setPaths(out, in.Paths)
	setConnections(out, p.Connections)
	if in.Gateway {
		out.XffNumTrustedHops = p.TrustedHops
	}
	switch {
	case role.Inbound:
		setPeerHeader(out, cmp.Or(p.InboundCert, "APPEND_FORWARD"), p.CertDetails)
	case in.Gateway:
		setPeerHeader(out, cmp.Or(p.GatewayCert, "SANITIZE_SET"), p.CertDetails)
	}
	if p.NoRequestID {
		out.GenerateRequestId = wrapperspb.Bool(false)
	}
	out.ServerName = cmp.Or(p.Server, out.ServerName)
	if p.KeepServer {
		out.ServerHeaderTransformation = hcmv3.HttpConnectionManager_PASS_THROUGH
	}
	out.AppendXForwardedPort = p.ForwardedPort
	if p.KeepHeaderCase {
		out.HttpProtocolOptions = keepCase()
	}
}

// keepCase writes HTTP/1.1 headers on as they were read.
func keepCase() *corev3.Http1ProtocolOptions {
	return &corev3.Http1ProtocolOptions{HeaderKeyFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat{
		HeaderFormat: &corev3.Http1ProtocolOptions_HeaderKeyFormat_StatefulFormatter{StatefulFormatter: &corev3.TypedExtensionConfig{
			Name: "preserve_case", TypedConfig: mustAny(&preservecasev3.PreserveCaseFormatterConfig{}),
		}},
	}}
}

// setPeerHeader tells who calls, of connections with a client certificate: x-forwarded-client-cert. In Istio's modes but
// ALWAYS_FORWARD_ONLY it is taken away from other connections, for anybody could write it.
func setPeerHeader(out *hcmv3.HttpConnectionManager, mode string, details *mesh.CertDetails) {
	out.ForwardClientCertDetails = hcmv3.HttpConnectionManager_ForwardClientCertDetails(
		hcmv3.HttpConnectionManager_ForwardClientCertDetails_value[mode])
	if mode != "APPEND_FORWARD" && mode != "SANITIZE_SET" {
		return
	}
	if details == nil {
		details = &mesh.CertDetails{Subject: true, URI: true, DNS: true}
	}
	out.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
		Subject: wrapperspb.Bool(details.Subject), Cert: details.Cert, Chain: details.Chain, Dns: details.DNS, Uri: details.URI,
	}
}

// setPaths says how paths are normalised before anything looks at them.
func setPaths(out *hcmv3.HttpConnectionManager, mode mesh.PathMode) {
	out.NormalizePath = wrapperspb.Bool(mode != mesh.PathsNone)
	out.MergeSlashes = mode == mesh.PathsMerge || mode == mesh.PathsSlash
	if mode == mesh.PathsSlash {
		out.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD
	}
}

// setConnections bounds what clients may do.
func setConnections(out *hcmv3.HttpConnectionManager, c mesh.Connections) {
	common := &corev3.HttpProtocolOptions{
		MaxConnectionDuration: optional(c.MaxConnectionDuration), MaxStreamDuration: optional(c.MaxStreamDuration),
		HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_HeadersWithUnderscoresAction(
			corev3.HttpProtocolOptions_HeadersWithUnderscoresAction_value[c.Underscores]),
	}
	if c.IdleTimeout != nil {
		common.IdleTimeout = durationpb.New(*c.IdleTimeout)
	}
	if c.IdleTimeout != nil || c.MaxConnectionDuration > 0 || c.MaxStreamDuration > 0 || c.Underscores != "" {
		out.CommonHttpProtocolOptions = common
	}
	if c.StreamIdleTimeout != nil {
		out.StreamIdleTimeout = durationpb.New(*c.StreamIdleTimeout)
	}
	out.DrainTimeout, out.RequestTimeout, out.RequestHeadersTimeout = optional(c.DrainTimeout), optional(c.RequestTimeout), optional(c.HeadersTimeout)
	out.MergeSlashes = out.MergeSlashes || c.MergeSlash
	if c.EscapedSlashes != "" {
		out.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction(
			hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction_value[c.EscapedSlashes])
	}
	if c.MaxConcurrentStreams+c.StreamWindow+c.ConnWindow == 0 {
		return
	}
	h2 := &corev3.Http2ProtocolOptions{}
	for _, f := range []struct {
		into **wrapperspb.UInt32Value
		n    uint32
	}{{&h2.MaxConcurrentStreams, c.MaxConcurrentStreams}, {&h2.InitialStreamWindowSize, c.StreamWindow}, {&h2.InitialConnectionWindowSize, c.ConnWindow}} {
		if f.n > 0 {
			*f.into = wrapperspb.UInt32(f.n)
		}
	}
	out.Http2ProtocolOptions = h2
}

// proxyProtocolFilter reads the PROXY header that a load balancer writes before each connection.
func proxyProtocolFilter() *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.proxy_protocol",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&proxyprotocolv3.ProxyProtocol{})},
	}
}
