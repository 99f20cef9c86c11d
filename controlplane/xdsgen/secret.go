package xdsgen

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// secrets makes those that the view has, and those that stand for files.
func (s *session) secrets() error {
	for _, x := range s.view.Secrets {
		r, err := memo(s.Builder, "secret", x, buildSecret)
		if err != nil {
			return err
		}
		s.out.Secrets = append(s.out.Secrets, r)
	}
	seen := map[string]bool{}
	for _, c := range s.view.Clusters {
		list, err := clusterSecrets(c)
		if err != nil {
			return err
		}
		for _, r := range list {
			if !seen[r.Name] {
				seen[r.Name] = true
				s.out.Secrets = append(s.out.Secrets, r)
			}
		}
	}
	for _, l := range s.view.Listeners {
		for _, ch := range l.Chains {
			if ch.TLS == nil {
				continue
			}
			for _, x := range fileSecrets(ch.TLS) {
				if seen[x.Name] {
					continue
				}
				seen[x.Name] = true
				r, err := resource(x.Name, x)
				if err != nil {
					return err
				}
				r.Origins = ch.Origins
				s.out.Secrets = append(s.out.Secrets, r)
			}
		}
	}
	return nil
}

// buildSecret is remembered by a digest of x in which the private key is a hash of itself.
func buildSecret(x *mesh.ServedSecret) (*Resource, error) {
	out := &tlsv3.Secret{Name: x.Name}
	if x.Certificate != nil {
		out.Type = &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(x.Certificate), PrivateKey: inline(x.Key),
		}}
	} else {
		check := &tlsv3.CertificateValidationContext{TrustedCa: inline(x.CA)}
		if x.CRL != nil {
			check.Crl = inline(x.CRL)
		}
		out.Type = &tlsv3.Secret_ValidationContext{ValidationContext: check}
	}
	r, err := resource(x.Name, out)
	if err != nil {
		return nil, err
	}
	r.Origins = []mesh.Origin{x.Origin}
	return r, nil
}

func inline(pem []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: pem}}
}
