package compile

import (
	"cmp"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"google.golang.org/protobuf/types/known/durationpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// detectTimeout is the default of MeshConfig's protocolDetectionTimeout. Istio's is to wait for ever, where a client of a server that
// speaks first waits as long.
const detectTimeout = 5 * time.Second

// settings reads MeshConfig; what it does not say has Istio's default.
func (c *compiler) settings(in Inputs) mesh.Settings {
	s := mesh.Settings{
		DomainSuffix:   cmp.Or(in.DomainSuffix, "cluster.local"),
		OutboundAny:    true,
		AutoMTLS:       true,
		ConnectTimeout: 10 * time.Second,
		DetectTimeout:  detectTimeout,
		Locality:       &mesh.Locality{},
		DefaultRetries: defaultRetries(),
		ModuleServer:   in.ModuleServer,
	}
	root := in.RootNamespace
	if m := c.set.Mesh; m != nil && m.Spec != nil {
		meshSettings(&s, m.Spec)
		root = cmp.Or(root, m.Spec.GetRootNamespace())
	}
	s.RootNamespace = cmp.Or(root, "istio-system")
	s.TrustDomain = cmp.Or(in.TrustDomain, s.TrustDomain, "cluster.local")
	return s
}

func meshSettings(s *mesh.Settings, spec *meshconfig.MeshConfig) {
	if p := spec.GetOutboundTrafficPolicy(); p != nil {
		s.OutboundAny = p.GetMode() == meshconfig.MeshConfig_OutboundTrafficPolicy_ALLOW_ANY
	}
	s.TrustDomain = spec.GetTrustDomain()
	if auto := spec.GetEnableAutoMtls(); auto != nil {
		s.AutoMTLS = auto.GetValue()
	}
	if d := duration(spec.GetConnectTimeout()); d > 0 {
		s.ConnectTimeout = d
	}
	if d := spec.GetProtocolDetectionTimeout(); d != nil {
		s.DetectTimeout = d.AsDuration()
	}
	if l := spec.GetLocalityLbSetting(); l != nil {
		s.Locality = localitySetting(l)
	}
	if r := spec.GetDefaultHttpRetryPolicy(); r != nil {
		s.DefaultRetries = retries(r)
	}
	if t := spec.GetDefaultConfig().GetTracing(); t != nil && t.GetSampling() > 0 {
		v := t.GetSampling()
		s.TraceSampling = &v
	}
	interceptionSettings(s, spec)
	trafficSettings(s, spec)
	tlsSettings(s, spec)
	s.Proxy = proxy(spec.GetDefaultConfig())
}

// interceptionSettings are where connections reach a proxy, and what it looks for in them.
func interceptionSettings(s *mesh.Settings, spec *meshconfig.MeshConfig) {
	s.OutboundPort, s.InboundPort = positive(spec.GetProxyListenPort()), positive(spec.GetProxyInboundListenPort())
	s.HTTPProxyPort = positive(spec.GetProxyHttpPort())
	s.InboundLocalhost = spec.GetInboundTrafficPolicy().GetMode() == meshconfig.MeshConfig_InboundTrafficPolicy_LOCALHOST
	switch n := spec.GetPathNormalization().GetNormalization(); n {
	case meshconfig.MeshConfig_ProxyPathNormalization_DEFAULT, meshconfig.MeshConfig_ProxyPathNormalization_BASE:
	default:
		s.Paths = mesh.PathMode(n.String())
	}
}

// trafficSettings are the defaults of clusters.
func trafficSettings(s *mesh.Settings, spec *meshconfig.MeshConfig) {
	s.InboundStat, s.OutboundStat = spec.GetInboundClusterStatName(), spec.GetOutboundClusterStatName()
	s.DNSRefresh = duration(spec.GetDnsRefreshRate())
	s.Upgrade = spec.GetH2UpgradePolicy() == meshconfig.MeshConfig_UPGRADE
	s.Pool = connectionPool(spec.GetDefaultTrafficPolicy().GetConnectionPool())
	s.Outlier = outlier(spec.GetDefaultTrafficPolicy().GetOutlierDetection())
	if k := spec.GetTcpKeepalive(); k != nil {
		s.Keepalive = &mesh.ConnectionPool{}
		setKeepalive(s.Keepalive, k)
	}
	if z := spec.GetZoneAwareLbSetting(); z != nil {
		s.Locality = zoneSetting(z) // wins over localityLbSetting, as in Istio
	}
}

func tlsSettings(s *mesh.Settings, spec *meshconfig.MeshConfig) {
	if v := spec.GetVerifyCertificateAtClient(); v != nil { //nolint:staticcheck // deprecated, and in use
		s.Unverified = !v.GetValue()
	}
	s.MeshTLS, s.OtherTLS = tlsParameters(spec.GetMeshMTLS()), tlsParameters(spec.GetTlsDefaults())
	if s.MeshTLS != nil {
		s.MeshTLS.Curves = nil // as in Istio
	}
}

func tlsParameters(in *meshconfig.MeshConfig_TLSConfig) *mesh.TLSParameters {
	if in == nil {
		return nil
	}
	out := &mesh.TLSParameters{CipherSuites: in.GetCipherSuites(), Curves: in.GetEcdhCurves()}
	if v := in.GetMinProtocolVersion(); v != meshconfig.MeshConfig_TLSConfig_TLS_AUTO {
		out.MinVersion = v.String()
	}
	return out
}

func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}
