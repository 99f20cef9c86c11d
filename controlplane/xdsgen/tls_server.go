package xdsgen

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	tlsSocket = "envoy.transport_sockets.tls"
	// agentCluster is the bootstrap's cluster of the agent beside the proxy, which holds the workload's identity.
	agentCluster = "sds-grpc"
)

// serverTransport terminates TLS in a filter chain.
func serverTransport(t *mesh.ServerTLS) (*corev3.TransportSocket, error) {
	common := &tlsv3.CommonTlsContext{TlsParams: tlsParameters(t), AlpnProtocols: t.ALPN}
	for _, c := range t.Certificates {
		common.TlsCertificateSdsSecretConfigs = append(common.TlsCertificateSdsSecretConfigs, secretOf(certificateName(c)))
	}
	setClientCheck(common, t)
	packed, err := toAny(&tlsv3.DownstreamTlsContext{
		CommonTlsContext: common, RequireClientCertificate: wrapperspb.Bool(t.RequireClient),
	})
	if err != nil {
		return nil, fmt.Errorf("build TLS: %w", err)
	}
	return &corev3.TransportSocket{
		Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed},
	}, nil
}

// tlsParameters are Istio's defaults where nothing is said: at least TLS 1.2, Envoy's suites.
func tlsParameters(t *mesh.ServerTLS) *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsVersion(t.MinVersion, tlsv3.TlsParameters_TLSv1_2),
		TlsMaximumProtocolVersion: tlsVersion(t.MaxVersion, tlsv3.TlsParameters_TLSv1_3),
		CipherSuites:              t.CipherSuites, EcdhCurves: t.Curves,
	}
}

func tlsVersion(name string, otherwise tlsv3.TlsParameters_TlsProtocol) tlsv3.TlsParameters_TlsProtocol {
	switch name {
	case "TLSV1_0":
		return tlsv3.TlsParameters_TLSv1_0
	case "TLSV1_1":
		return tlsv3.TlsParameters_TLSv1_1
	case "TLSV1_2":
		return tlsv3.TlsParameters_TLSv1_2
	case "TLSV1_3":
		return tlsv3.TlsParameters_TLSv1_3
	}
	return otherwise
}

// setClientCheck says how a client's certificate is verified; nothing if none is asked for.
func setClientCheck(common *tlsv3.CommonTlsContext, t *mesh.ServerTLS) {
	check := &tlsv3.CertificateValidationContext{
		MatchTypedSubjectAltNames: subjectNames(t.SANs), VerifyCertificateSpki: t.SPKI, VerifyCertificateHash: t.Hashes,
	}
	if t.Insecure {
		check.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
	}
	switch {
	case !t.Roots.IsZero():
		common.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext: check, ValidationContextSdsSecretConfig: secretOf(rootsName(t.Roots)),
			},
		}
	case len(t.SPKI)+len(t.Hashes) > 0 || t.Insecure:
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: check}
	}
}

// subjectNames are matchers of subject alternative names, each of the type that its form tells.
func subjectNames(names []string) []*tlsv3.SubjectAltNameMatcher {
	var out []*tlsv3.SubjectAltNameMatcher
	for _, n := range names {
		kind := tlsv3.SubjectAltNameMatcher_DNS
		_, err := netip.ParseAddr(n)
		switch {
		case strings.Contains(n, "://"):
			kind = tlsv3.SubjectAltNameMatcher_URI
		case err == nil:
			kind = tlsv3.SubjectAltNameMatcher_IP_ADDRESS
		case strings.Contains(n, "@"):
			kind = tlsv3.SubjectAltNameMatcher_EMAIL
		}
		out = append(out, &tlsv3.SubjectAltNameMatcher{
			SanType: kind, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: n}},
		})
	}
	return out
}

// Prefixes of secrets that name files, as in Istio. The control plane answers for them with the paths, never with what is in
// the files: Envoy reads them itself, and again when they are replaced.
const (
	fileCertPrefix = "file-cert:"
	fileRootPrefix = "file-root:"
)

// certificateName is the SDS name of a certificate with its key.
func certificateName(s mesh.CertSource) string {
	if s.Secret != "" {
		return s.Secret
	}
	return fileCertPrefix + s.Certificate + "~" + s.Key
}

// rootsName is the SDS name of trusted roots.
func rootsName(s mesh.CertSource) string {
	if s.Secret != "" {
		return s.Secret
	}
	name := fileRootPrefix + s.CA
	if s.CRL != "" {
		name += "~" + s.CRL
	}
	return name
}

// secretOf refers to a secret where it is: with the agent if it is the workload's own identity, else with the control plane.
func secretOf(name string) *tlsv3.SdsSecretConfig {
	if name == mesh.SecretIdentity || name == mesh.SecretRoots {
		return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: agentSource()}
	}
	source := adsSource()
	source.InitialFetchTimeout = seconds(firstSecret)
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: source}
}

// firstSecret bounds, in seconds, how long what names a Secret waits for it. The incremental protocol can say that there is none;
// that of the state of the world cannot, and Envoy acknowledges no clusters as long as one of them waits. Without its secret a port
// or a cluster makes no connection, as Istio's.
const firstSecret = 10

// agentSource is the agent's secret discovery service. It answers when it has a certificate: until then nothing that needs one
// is ready.
func agentSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion: corev3.ApiVersion_V3, InitialFetchTimeout: durationpb.New(0),
		ConfigSourceSpecifier: &corev3.ConfigSource_ApiConfigSource{ApiConfigSource: &corev3.ApiConfigSource{
			ApiType: corev3.ApiConfigSource_GRPC, TransportApiVersion: corev3.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: agentCluster},
			}}},
		}},
	}
}

// fileSecrets are the secrets of files that a server's TLS names.
func fileSecrets(t *mesh.ServerTLS) []*tlsv3.Secret {
	var out []*tlsv3.Secret
	for _, c := range t.Certificates {
		if c.Certificate != "" && c.Secret == "" {
			out = append(out, &tlsv3.Secret{Name: certificateName(c), Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
				CertificateChain: inFile(c.Certificate), PrivateKey: inFile(c.Key), WatchedDirectory: directory(c.Certificate),
			}}})
		}
	}
	if r := t.Roots; r.CA != "" && r.Secret == "" {
		check := &tlsv3.CertificateValidationContext{TrustedCa: inFile(r.CA), WatchedDirectory: directory(r.CA)}
		if r.CRL != "" {
			check.Crl = inFile(r.CRL)
		}
		out = append(out, &tlsv3.Secret{Name: rootsName(r), Type: &tlsv3.Secret_ValidationContext{ValidationContext: check}})
	}
	return slices.Clip(out)
}

func inFile(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

// directory is watched for files that are moved into it, which is how Kubernetes and careful people replace certificates.
func directory(file string) *corev3.WatchedDirectory {
	return &corev3.WatchedDirectory{Path: filepath.Dir(file)}
}
