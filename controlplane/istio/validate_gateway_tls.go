package istio

import (
	"fmt"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

// serverTLS checks that a server's protocol, its TLS mode and where its certificates come from go together.
func (v *validator) serverTLS(s *networking.Server, path string) {
	secure := slices.Contains([]string{"HTTPS", "TLS"}, strings.ToUpper(s.Port.Protocol))
	t := s.Tls
	at := path + ".tls"
	switch {
	case t == nil && secure:
		v.fail(path, "a server of protocol "+s.Port.Protocol+" needs tls",
			"add tls: {mode: SIMPLE, credentialName: NAME}, or tls: {mode: PASSTHROUGH}")
		return
	case t == nil:
		return
	case !secure && (v.has(at+".mode") || credentials(t)):
		v.fail(at, "TLS on a server of protocol "+s.Port.Protocol+", which is plain text", "write protocol: HTTPS, or TLS for what is not HTTP")
		return
	case !secure:
		if t.HttpsRedirect && !strings.HasPrefix(strings.ToUpper(s.Port.Protocol), "HTTP") {
			v.trap(at+".httpsRedirect", "only HTTP is redirected", "")
		}
		return
	}
	if t.HttpsRedirect {
		v.trap(at+".httpsRedirect", "requests here are HTTPS already", "write it on the HTTP server")
	}
	v.tlsSources(t, at)
	v.tlsCheck(t, at)
}

func credentials(t *networking.ServerTLSSettings) bool {
	return t.CredentialName != "" || len(t.CredentialNames)+len(t.TlsCertificates) > 0 || t.ServerCertificate != ""
}

// tlsSources checks where the server's certificate and the clients' roots come from.
func (v *validator) tlsSources(t *networking.ServerTLSSettings, at string) {
	files := t.ServerCertificate != "" || t.PrivateKey != "" || t.CaCertificates != ""
	mutual := t.Mode == networking.ServerTLSSettings_MUTUAL || t.Mode == networking.ServerTLSSettings_OPTIONAL_MUTUAL
	switch t.Mode {
	case networking.ServerTLSSettings_PASSTHROUGH, networking.ServerTLSSettings_AUTO_PASSTHROUGH:
		if credentials(t) {
			v.trap(at, "mode "+t.Mode.String()+" leaves TLS to the destination: the certificates are not used", "write mode: SIMPLE to end TLS here")
		}
		return
	case networking.ServerTLSSettings_ISTIO_MUTUAL:
		if credentials(t) || files {
			v.fail(at, "mode ISTIO_MUTUAL takes the mesh's own certificates", "take the others away, or write mode: MUTUAL")
		}
		return
	}
	names := 0
	for _, set := range []bool{t.CredentialName != "", len(t.CredentialNames) > 0, len(t.TlsCertificates) > 0, t.ServerCertificate != ""} {
		if set {
			names++
		}
	}
	switch {
	case names == 0:
		v.fail(at, "mode "+t.Mode.String()+" needs a certificate", "add credentialName: the name of a Secret in the gateway's namespace")
	case names > 1:
		v.fail(at, "credentialName, credentialNames, tlsCertificates and serverCertificate exclude each other", "keep one")
	case t.ServerCertificate != "" && t.PrivateKey == "":
		v.fail(at+".serverCertificate", "a certificate without its privateKey", "add privateKey")
	}
	if len(t.CredentialNames) > 2 {
		v.fail(at+".credentialNames", "at most two: one for each kind of key, RSA and ECDSA", "")
	}
	for i, c := range t.TlsCertificates {
		v.required(index(at+".tlsCertificates", i)+".serverCertificate", c.ServerCertificate)
		v.required(index(at+".tlsCertificates", i)+".privateKey", c.PrivateKey)
	}
	for _, n := range append([]string{t.CredentialName, t.CaCertCredentialName}, t.CredentialNames...) {
		if strings.Contains(n, "/") {
			v.fail(at+".credentialName", fmt.Sprintf("%q names more than a Secret", n),
				"write the name alone; the Secret stands in the namespace of the gateway's pods")
		}
	}
	if mutual && t.CaCertificates == "" && t.CaCertCredentialName == "" && t.CredentialName == "" && len(t.CredentialNames) == 0 &&
		!t.InsecureSkipVerify.GetValue() {
		v.fail(at, "mode "+t.Mode.String()+" needs roots to verify clients by", "add caCertificates: a file, or a credentialName")
	}
}

// tlsCheck checks what is asked of clients' certificates, and of the connection.
func (v *validator) tlsCheck(t *networking.ServerTLSSettings, at string) {
	if t.MinProtocolVersion > t.MaxProtocolVersion && t.MaxProtocolVersion != networking.ServerTLSSettings_TLS_AUTO {
		v.fail(at+".maxProtocolVersion", "is older than minProtocolVersion", "")
	}
	for i, h := range t.VerifyCertificateHash {
		if n := len(strings.ReplaceAll(h, ":", "")); n != 64 {
			v.fail(index(at+".verifyCertificateHash", i), "is no SHA-256 in hexadecimal: 64 digits", "")
		}
	}
	for i, h := range t.VerifyCertificateSpki {
		if len(h) != 44 {
			v.fail(index(at+".verifyCertificateSpki", i), "is no SHA-256 in base64: 44 characters", "")
		}
	}
	known := cipherSuites()
	for i, c := range t.CipherSuites {
		for part := range strings.SplitSeq(strings.Trim(c, "[]"), "|") {
			if !slices.Contains(known, part) {
				v.fail(index(at+".cipherSuites", i), fmt.Sprintf("%q is no cipher suite that Envoy knows", part), "known are "+strings.Join(known, ", "))
			}
		}
	}
	if t.Mode != networking.ServerTLSSettings_MUTUAL && t.Mode != networking.ServerTLSSettings_OPTIONAL_MUTUAL &&
		len(t.SubjectAltNames)+len(t.VerifyCertificateHash)+len(t.VerifyCertificateSpki) > 0 {
		v.trap(at, "mode "+t.Mode.String()+" asks for no client certificate: nothing of one is checked", "write mode: MUTUAL")
	}
	if t.InsecureSkipVerify.GetValue() && len(t.SubjectAltNames) > 0 {
		v.trap(at+".subjectAltNames", "with insecureSkipVerify no name of a client's certificate is checked", "take insecureSkipVerify away, and name the roots")
	}
}

// cipherSuites are those of TLS up to 1.2 that Envoy's library has, as Istio lets them pass.
func cipherSuites() []string {
	return []string{
		"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
		"ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA",
		"ECDHE-ECDSA-AES256-SHA", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA", "DES-CBC3-SHA",
	}
}
