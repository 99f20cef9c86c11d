package istio

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// statVariables are those of Istio's patterns for names in statistics.
var statVariables = []string{"%SERVICE%", "%SERVICE_NAME%", "%SERVICE_FQDN%", "%SERVICE_PORT%", "%SERVICE_PORT_NAME%", "%SUBSET_NAME%", "%TARGET_PORT%"}

// statVariable is anything that looks like one.
var statVariable = regexp.MustCompile("%[A-Z_]*%")

// validateMesh checks what of a MeshConfig bears on every proxy.
func validateMesh(m *Meta, spec *meshconfig.MeshConfig) Diagnostics {
	v := &validator{meta: m}
	for _, p := range []struct {
		name string
		n    int32
	}{{"proxyListenPort", spec.ProxyListenPort}, {"proxyInboundListenPort", spec.ProxyInboundListenPort}, {"proxyHttpPort", spec.ProxyHttpPort}} {
		v.within("data.mesh."+p.name, int64(p.n), 0, 65535)
	}
	if out, in := cmp.Or(spec.ProxyListenPort, 15001), cmp.Or(spec.ProxyInboundListenPort, 15006); out == in {
		v.fail("data.mesh.proxyInboundListenPort", fmt.Sprintf("%d is proxyListenPort too: Envoy refuses the second listener", in), "give each a port of its own")
	}
	v.positive("data.mesh.connectTimeout", spec.ConnectTimeout, "leave it out for 10s")
	v.positive("data.mesh.dnsRefreshRate", spec.DnsRefreshRate, "leave it out for 5s")
	v.notBelowZero("data.mesh.protocolDetectionTimeout", spec.ProtocolDetectionTimeout)
	v.positive("data.mesh.tcpKeepalive.time", spec.TcpKeepalive.GetTime(), "")
	v.positive("data.mesh.tcpKeepalive.interval", spec.TcpKeepalive.GetInterval(), "")
	v.connectionPool(spec.DefaultTrafficPolicy.GetConnectionPool(), "data.mesh.defaultTrafficPolicy.connectionPool")
	v.outlier(spec.DefaultTrafficPolicy.GetOutlierDetection(), "data.mesh.defaultTrafficPolicy.outlierDetection")
	v.exports("data.mesh.defaultServiceExportTo", spec.DefaultServiceExportTo, true)
	v.exports("data.mesh.defaultVirtualServiceExportTo", spec.DefaultVirtualServiceExportTo, true)
	v.exports("data.mesh.defaultDestinationRuleExportTo", spec.DefaultDestinationRuleExportTo, true)
	v.statPattern("data.mesh.inboundClusterStatName", spec.InboundClusterStatName, "%SUBSET_NAME%")
	v.statPattern("data.mesh.outboundClusterStatName", spec.OutboundClusterStatName, "%TARGET_PORT%")
	for i, s := range spec.DiscoverySelectors {
		v.selector(index("data.mesh.discoverySelectors", i), s)
	}
	for i, p := range spec.ServiceEntryVisibility.GetPolicies() {
		for j, r := range p.GetMatchingRules() {
			v.selector(index(index("data.mesh.serviceEntryVisibility.policies", i)+".matchingRules", j)+".namespaceSelector", r.GetNamespaceSelector())
		}
	}
	if s := spec.ServiceEntryVisibility; s != nil && !s.ApplyToSidecars {
		v.trap("data.mesh.serviceEntryVisibility", "without applyToSidecars it is for ambient proxies only, of which there are none: exportTo counts", "add applyToSidecars: true")
	}
	v.tlsConfig("data.mesh.tlsDefaults", spec.TlsDefaults)
	v.tlsConfig("data.mesh.meshMTLS", spec.MeshMTLS)
	if len(spec.MeshMTLS.GetEcdhCurves()) > 0 {
		v.trap("data.mesh.meshMTLS.ecdhCurves", "connections within the mesh take no curves, as in Istio", "write them in tlsDefaults for other connections")
	}
	if spec.GetZoneAwareLbSetting() != nil && spec.GetLocalityLbSetting() != nil {
		v.trap("data.mesh.localityLbSetting", "zoneAwareLbSetting wins over it", "keep one")
	}
	v.proxyConfig("data.mesh.defaultConfig", spec.DefaultConfig)
	return v.diags
}

// statPattern checks that a pattern has only variables that are known, and that mean something there.
func (v *validator) statPattern(path, pattern, without string) {
	for _, w := range statVariable.FindAllString(pattern, -1) {
		switch {
		case !slices.Contains(statVariables, w):
			v.fail(path, fmt.Sprintf("%s is no variable", w), "write one of "+strings.Join(statVariables, ", "))
		case w == without:
			v.trap(path, w+" is empty there", "take it away")
		}
	}
}

// selector checks a label selector as Kubernetes does.
func (v *validator) selector(path string, s *meshconfig.LabelSelector) {
	v.labels(path+".matchLabels", s.GetMatchLabels())
	for i, e := range s.GetMatchExpressions() {
		p := index(path+".matchExpressions", i)
		if !labelKey(e.Key) {
			v.fail(p+".key", fmt.Sprintf("%q is not a label's name", e.Key), "")
		}
		switch e.Operator {
		case "In", "NotIn":
			if len(e.Values) == 0 {
				v.fail(p+".values", e.Operator+" needs values", "")
			}
		case "Exists", "DoesNotExist":
			if len(e.Values) > 0 {
				v.fail(p+".values", e.Operator+" takes no values", "take them away")
			}
		default:
			v.fail(p+".operator", fmt.Sprintf("%q is no operator", e.Operator), "write In, NotIn, Exists or DoesNotExist")
		}
	}
}

// curves are those that Envoy's BoringSSL knows.
var curves = []string{"P-224", "P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"}

// ciphers are what a cipher suite may be named as, in OpenSSL's names.
var ciphers = regexp.MustCompile(`^[A-Z0-9-]+$`)

func (v *validator) tlsConfig(path string, c *meshconfig.MeshConfig_TLSConfig) {
	for i, name := range c.GetEcdhCurves() {
		if !slices.Contains(curves, name) {
			v.fail(index(path+".ecdhCurves", i), fmt.Sprintf("%q is no curve that Envoy knows", name), "write one of "+strings.Join(curves, ", "))
		}
	}
	for i, name := range c.GetCipherSuites() {
		if !ciphers.MatchString(name) {
			v.fail(index(path+".cipherSuites", i), fmt.Sprintf("%q is no cipher suite", name), "write OpenSSL's name, such as ECDHE-RSA-AES256-GCM-SHA384")
		}
	}
}

// proxyConfig checks a proxy's settings.
func (v *validator) proxyConfig(path string, c *meshconfig.ProxyConfig) {
	if c == nil {
		return
	}
	s, p := c.ConnectionSettings, path+".connectionSettings."
	for _, d := range []struct {
		name string
		d    *durationpb.Duration
	}{
		{"httpMaxConnectionDuration", s.GetHttpMaxConnectionDuration()}, {"httpDrainTimeout", s.GetHttpDrainTimeout()},
		{"httpMaxStreamDuration", s.GetHttpMaxStreamDuration()},
	} {
		v.positive(p+d.name, d.d, "leave it out")
	}
	for _, d := range []struct {
		name string
		d    *durationpb.Duration
	}{
		{"httpIdleTimeout", s.GetHttpIdleTimeout()}, {"httpRequestTimeout", s.GetHttpRequestTimeout()},
		{"httpRequestHeadersTimeout", s.GetHttpRequestHeadersTimeout()}, {"httpStreamIdleTimeout", s.GetHttpStreamIdleTimeout()},
	} {
		v.notBelowZero(p+d.name, d.d)
	}
	for _, n := range []struct {
		name      string
		n         *wrapperspb.Int32Value
		low, high int64
	}{
		{"listenerPerConnectionBufferLimitBytes", s.GetListenerPerConnectionBufferLimitBytes(), 1, 1 << 31},
		{"clusterPerConnectionBufferLimitBytes", s.GetClusterPerConnectionBufferLimitBytes(), 1, 1 << 31},
		{"httpMaxConcurrentStreams", s.GetHttpMaxConcurrentStreams(), 1, 1 << 31},
		{"http2InitialStreamWindowSize", s.GetHttp2InitialStreamWindowSize(), 65535, 1 << 31},
		{"http2InitialConnectionWindowSize", s.GetHttp2InitialConnectionWindowSize(), 65535, 1 << 31},
	} {
		if n.n != nil {
			v.within(p+n.name, int64(n.n.GetValue()), n.low, n.high-1)
		}
	}
	v.proxyStart(path, c)
	if w := c.ProxyHeaders.GetServer().GetValue(); strings.ContainsAny(w, "\r\n") {
		v.fail(path+".proxyHeaders.server.value", "is no value of a header", "")
	}
	if c.ProxyHeaders.GetServer().GetDisabled().GetValue() && c.ProxyHeaders.GetServer().GetValue() != "" {
		v.trap(path+".proxyHeaders.server.value", "disabled: the application's header stays", "keep one")
	}
}
