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
	s.AccessLogFile, s.AccessLogFormat = spec.GetAccessLogFile(), spec.GetAccessLogFormat()
	s.AccessLogJSON = spec.GetAccessLogEncoding() == meshconfig.MeshConfig_JSON
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
}

func duration(d *durationpb.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return d.AsDuration()
}
