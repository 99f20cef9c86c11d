package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
)

func validatePeerAuthentication(o *Object[pa]) Diagnostics {
	v := &validator{meta: &o.Meta}
	selector := o.Spec.GetSelector().GetMatchLabels()
	v.labels("spec.selector.matchLabels", selector)
	ports := o.Spec.GetPortLevelMtls()
	if len(ports) > 0 && len(selector) == 0 {
		v.fail("spec.portLevelMtls", "needs a selector: ports belong to workloads", "add selector: {matchLabels: {app: NAME}}")
	}
	for _, p := range slices.Sorted(maps.Keys(ports)) {
		path := fmt.Sprintf("spec.portLevelMtls.%d", p)
		v.port(path, p)
		if ports[p] == nil {
			v.fail(path, "says nothing", "write {mode: STRICT}, PERMISSIVE or DISABLE")
		}
	}
	if mode := o.Spec.GetMtls().GetMode(); mode == security.PeerAuthentication_MutualTLS_UNSET && len(ports) == 0 {
		v.note("spec", "says nothing: what its workloads take is inherited", "add mtls: {mode: STRICT}, or take it away")
	}
	return v.diags
}

// maxServerName is the longest server name that Envoy sends, in bytes.
const maxServerName = 255

// clientTLS checks a DestinationRule's tls, as Istio does.
func (v *validator) clientTLS(t *networking.ClientTLSSettings, path string) {
	if t == nil {
		return
	}
	files := t.ClientCertificate + t.PrivateKey + t.CaCertificates + t.CaCrl
	switch t.Mode {
	case networking.ClientTLSSettings_ISTIO_MUTUAL:
		if files+t.CredentialName != "" {
			v.fail(path, "ISTIO_MUTUAL uses the workload's own certificate: no other may be named", "take clientCertificate, privateKey, caCertificates, caCrl and credentialName away, or write mode: MUTUAL")
		}
	case networking.ClientTLSSettings_MUTUAL:
		if t.CredentialName == "" {
			v.required(path+".clientCertificate", t.ClientCertificate)
			v.required(path+".privateKey", t.PrivateKey)
		}
	case networking.ClientTLSSettings_SIMPLE:
		if t.ClientCertificate+t.PrivateKey != "" {
			v.trap(path, "SIMPLE sends no client certificate", "write mode: MUTUAL")
		}
	default:
		if files+t.CredentialName+t.Sni != "" || len(t.SubjectAltNames) > 0 || t.InsecureSkipVerify != nil {
			v.trap(path, "with mode DISABLE nothing else here has an effect", "write mode: SIMPLE, MUTUAL or ISTIO_MUTUAL")
		}
	}
	if len(t.Sni) > maxServerName {
		v.fail(path+".sni", fmt.Sprintf("a server name of %d bytes; Envoy takes at most %d", len(t.Sni), maxServerName), "")
	}
	if t.CredentialName != "" && files != "" {
		v.fail(path+".credentialName", "a secret and files exclude each other", "keep one of them")
	}
	for _, f := range []struct{ name, file string }{
		{"clientCertificate", t.ClientCertificate}, {"privateKey", t.PrivateKey}, {"caCertificates", t.CaCertificates}, {"caCrl", t.CaCrl},
	} {
		if strings.Contains(f.file, "~") {
			v.fail(path+"."+f.name, fmt.Sprintf("file name %q: a '~' parts two files", f.file), "rename it")
		}
	}
}
