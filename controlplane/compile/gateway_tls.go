package compile

import (
	"cmp"
	"strings"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// setServerTLS says where a server's TLS ends. Only protocols HTTPS and TLS have any.
func setServerTLS(srv *mesh.Server, s *networking.Server) {
	t := s.GetTls()
	if t == nil || srv.Protocol != mesh.HTTPS && srv.Protocol != mesh.TLS {
		return
	}
	mutual := t.GetMode() == networking.ServerTLSSettings_MUTUAL
	switch t.GetMode() {
	case networking.ServerTLSSettings_PASSTHROUGH, networking.ServerTLSSettings_AUTO_PASSTHROUGH:
		srv.Passthrough = true
		return
	case networking.ServerTLSSettings_ISTIO_MUTUAL:
		srv.TLS = &mesh.ServerTLS{
			Certificates: []mesh.CertSource{{Secret: mesh.SecretIdentity}}, Roots: mesh.CertSource{Secret: mesh.SecretRoots}, RequireClient: true,
		}
	default:
		srv.TLS = &mesh.ServerTLS{Certificates: certificates(t), RequireClient: mutual}
		if mutual || t.GetMode() == networking.ServerTLSSettings_OPTIONAL_MUTUAL {
			setClientCheck(srv.TLS, t)
		}
	}
	srv.TLS.MinVersion, srv.TLS.MaxVersion = tlsVersion(t.GetMinProtocolVersion()), tlsVersion(t.GetMaxProtocolVersion())
	srv.TLS.CipherSuites = t.GetCipherSuites()
	if srv.Protocol == mesh.HTTPS {
		srv.TLS.ALPN = []string{"h2", "http/1.1"}
	}
}

// defaultTLS fills in what the mesh says, of its own connections or of others, where the server says nothing.
func defaultTLS(t *mesh.ServerTLS, s *networking.Server, settings *mesh.Settings) {
	d := settings.OtherTLS
	if s.GetTls().GetMode() == networking.ServerTLSSettings_ISTIO_MUTUAL {
		d = settings.MeshTLS
	}
	if t == nil || d == nil {
		return
	}
	t.MinVersion, t.Curves = cmp.Or(t.MinVersion, d.MinVersion), d.Curves
	if len(t.CipherSuites) == 0 {
		t.CipherSuites = d.CipherSuites
	}
}

func tlsVersion(v networking.ServerTLSSettings_TLSProtocol) string {
	if v == networking.ServerTLSSettings_TLS_AUTO {
		return ""
	}
	return v.String()
}

// certificates are the server's own, from Secrets or files.
func certificates(t *networking.ServerTLSSettings) []mesh.CertSource {
	var out []mesh.CertSource
	names := t.GetCredentialNames()
	if t.GetCredentialName() != "" {
		names = []string{t.GetCredentialName()}
	}
	for _, n := range names {
		out = append(out, mesh.CertSource{Secret: secretName(n)})
	}
	for _, c := range t.GetTlsCertificates() {
		out = append(out, mesh.CertSource{Certificate: c.GetServerCertificate(), Key: c.GetPrivateKey()})
	}
	if t.GetServerCertificate() != "" {
		out = append(out, mesh.CertSource{Certificate: t.GetServerCertificate(), Key: t.GetPrivateKey()})
	}
	return out
}

func secretName(credential string) string {
	return mesh.KubernetesSecret + strings.TrimPrefix(credential, mesh.KubernetesSecret)
}

// setClientCheck says what clients' certificates must be.
func setClientCheck(out *mesh.ServerTLS, t *networking.ServerTLSSettings) {
	out.SANs, out.SPKI, out.Hashes = t.GetSubjectAltNames(), t.GetVerifyCertificateSpki(), t.GetVerifyCertificateHash()
	names := t.GetCredentialNames()
	switch {
	case t.GetInsecureSkipVerify().GetValue():
		out.Insecure, out.SANs = true, nil // as Istio's documentation has it; validation warns
	case t.GetCaCertificates() != "":
		out.Roots = mesh.CertSource{CA: t.GetCaCertificates(), CRL: t.GetCaCrl()}
	case t.GetCaCertCredentialName() != "":
		out.Roots = mesh.CertSource{Secret: secretName(t.GetCaCertCredentialName() + mesh.RootsSuffix)}
	case t.GetCredentialName() != "":
		out.Roots = mesh.CertSource{Secret: secretName(t.GetCredentialName() + mesh.RootsSuffix)}
	case len(names) > 0:
		out.Roots = mesh.CertSource{Secret: secretName(names[0] + mesh.RootsSuffix)}
	}
}
