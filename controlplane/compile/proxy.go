package compile

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// podProxy is what a pod's annotation says of its proxy, over the mesh's; nil if it says nothing. Objects of kind ProxyConfig say
// nothing that acts over xDS.
func (c *compiler) podProxy(o *istio.Object[*corev1.Pod]) *mesh.Proxy {
	if o.Annotations[effective.Annotation] == "" {
		return nil
	}
	merged, err := effective.ProxyConfig(c.meshConfig().GetDefaultConfig(), "", nil, effective.Pod{Annotations: o.Annotations})
	if err != nil {
		return nil // its reader has told
	}
	if p := proxy(merged); p != nil {
		return p
	}
	return &mesh.Proxy{}
}

// proxy lowers a ProxyConfig as far as it acts over xDS; nil if it says nothing of that.
func proxy(in *meshconfig.ProxyConfig) *mesh.Proxy {
	t, h := in.GetGatewayTopology(), in.GetProxyHeaders()
	out := &mesh.Proxy{
		TrustedHops: t.GetNumTrustedProxies(), ProxyProtocol: t.GetProxyProtocol() != nil,
		GatewayCert: forwardCert(t.GetForwardClientCertDetails()), InboundCert: forwardCert(h.GetForwardedClientCert()),
		CertDetails: certDetails(h.GetSetCurrentClientCertDetails()),
		NoRequestID: h.GetRequestId().GetDisabled().GetValue(),
		Server:      h.GetServer().GetValue(), KeepServer: h.GetServer().GetDisabled().GetValue(),
		NoAttemptCount: h.GetAttemptCount().GetDisabled().GetValue(),
		NoDebugHeaders: h.GetEnvoyDebugHeaders().GetDisabled().GetValue(),
		KeepHeaderCase: h.GetPreserveHttp1HeaderCase().GetValue(),
		ForwardedHost:  h.GetXForwardedHost().GetEnabled().GetValue(),
		ForwardedPort:  h.GetXForwardedPort().GetEnabled().GetValue(),
		Connections:    connections(in.GetConnectionSettings()),
	}
	if *out == (mesh.Proxy{}) {
		return nil
	}
	return out
}

func forwardCert(d meshconfig.ForwardClientCertDetails) string {
	if d == meshconfig.ForwardClientCertDetails_UNDEFINED {
		return ""
	}
	return d.String()
}

// certDetails: what is not said of subject, URI and DNS names is yes, as in Istio.
func certDetails(in *meshconfig.ProxyConfig_ProxyHeaders_SetCurrentClientCertDetails) *mesh.CertDetails {
	if in == nil {
		return nil
	}
	unless := func(v *wrapperspb.BoolValue) bool { return v == nil || v.GetValue() }
	return &mesh.CertDetails{
		Subject: unless(in.GetSubject()), DNS: unless(in.GetDns()), URI: unless(in.GetUri()),
		Cert: in.GetCert().GetValue(), Chain: in.GetChain().GetValue(),
	}
}

// connections: what is said wins over the profile.
func connections(in *meshconfig.ProxyConfig_ConnectionSettings) mesh.Connections {
	out := mesh.Connections{}
	if in.GetProfile() == meshconfig.ProxyConfig_ConnectionSettings_EDGE {
		out = edgeConnections()
	}
	number := func(into *uint32, v *wrapperspb.Int32Value) {
		if v != nil {
			*into = positive(v.GetValue())
		}
	}
	span := func(into *time.Duration, v *durationpb.Duration) {
		if v != nil {
			*into = v.AsDuration()
		}
	}
	number(&out.ListenerBuffer, in.GetListenerPerConnectionBufferLimitBytes())
	number(&out.ClusterBuffer, in.GetClusterPerConnectionBufferLimitBytes())
	number(&out.MaxConcurrentStreams, in.GetHttpMaxConcurrentStreams())
	number(&out.StreamWindow, in.GetHttp2InitialStreamWindowSize())
	number(&out.ConnWindow, in.GetHttp2InitialConnectionWindowSize())
	span(&out.MaxConnectionDuration, in.GetHttpMaxConnectionDuration())
	span(&out.DrainTimeout, in.GetHttpDrainTimeout())
	span(&out.RequestTimeout, in.GetHttpRequestTimeout())
	span(&out.HeadersTimeout, in.GetHttpRequestHeadersTimeout())
	span(&out.MaxStreamDuration, in.GetHttpMaxStreamDuration())
	if d := in.GetHttpIdleTimeout(); d != nil {
		v := d.AsDuration()
		out.IdleTimeout = &v
	}
	if d := in.GetHttpStreamIdleTimeout(); d != nil {
		v := d.AsDuration()
		out.StreamIdleTimeout = &v
	}
	if v := in.GetHttpMergeSlashes(); v != nil {
		out.MergeSlash = v.GetValue()
	}
	pathSettings(&out, in)
	return out
}

// pathSettings are what becomes of odd names and paths.
func pathSettings(out *mesh.Connections, in *meshconfig.ProxyConfig_ConnectionSettings) {
	switch in.GetHttpHeadersWithUnderscoresAction() {
	case meshconfig.ProxyConfig_ConnectionSettings_HEADERS_WITH_UNDERSCORES_ALLOW:
		out.Underscores = ""
	case meshconfig.ProxyConfig_ConnectionSettings_HEADERS_WITH_UNDERSCORES_REJECT_REQUEST:
		out.Underscores = "REJECT_REQUEST"
	case meshconfig.ProxyConfig_ConnectionSettings_HEADERS_WITH_UNDERSCORES_DROP_HEADER:
		out.Underscores = "DROP_HEADER"
	}
	switch a := in.GetHttpPathWithEscapedSlashesAction(); a {
	case meshconfig.ProxyConfig_ConnectionSettings_PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED:
	case meshconfig.ProxyConfig_ConnectionSettings_KEEP_UNCHANGED:
		out.EscapedSlashes = ""
	default:
		out.EscapedSlashes = a.String()
	}
}

// edgeConnections are those of profile EDGE, which Envoy recommends for what faces the internet.
func edgeConnections() mesh.Connections {
	idle, stream := time.Hour, 5*time.Minute
	return mesh.Connections{
		ListenerBuffer: 32 << 10, ClusterBuffer: 32 << 10, IdleTimeout: &idle, RequestTimeout: 5 * time.Minute, StreamIdleTimeout: &stream,
		MaxConcurrentStreams: 100, StreamWindow: 64 << 10, ConnWindow: 1 << 20, Underscores: "REJECT_REQUEST", MergeSlash: true,
		EscapedSlashes: "UNESCAPE_AND_REDIRECT",
	}
}
