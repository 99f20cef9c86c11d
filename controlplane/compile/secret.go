package compile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// secrets keeps the Secrets that Gateways name, of whichever namespace: a proxy gets those of its own. A certificate that is
// none, or not its key's, is told and left out, for Envoy would refuse it.
func (c *compiler) secrets() {
	named := map[string]bool{}
	for _, g := range c.world.Gateways {
		for _, s := range g.Servers {
			for _, n := range secretNames(s.TLS) {
				named[n], named[strings.TrimSuffix(n, mesh.RootsSuffix)] = true, true
			}
		}
	}
	for _, o := range c.set.DestinationRules {
		for _, n := range credentials(o.Spec) {
			named[n], named[n+mesh.RootsSuffix] = true, true
		}
	}
	for _, o := range c.set.Secrets {
		if !named[o.Name] {
			continue
		}
		s := &mesh.Secret{
			Namespace: o.Namespace, Name: o.Name, Origin: origin(&o.Meta, ""),
			Certificate: entry(o.Spec, "tls.crt", "cert"), Key: mesh.Sensitive(entry(o.Spec, "tls.key", "key")),
			CA: entry(o.Spec, "ca.crt", "cacert"), CRL: entry(o.Spec, "ca.crl", "crl"),
		}
		if c.secret(o, s) {
			c.world.Secrets = append(c.world.Secrets, s)
		}
	}
	c.analyzeSecrets()
}

// entry is the first of a Secret's entries that there is; stringData goes before data, as an API server has it.
func entry(s *corev1.Secret, keys ...string) []byte {
	for _, k := range keys {
		if v, ok := s.StringData[k]; ok && v != "" {
			return []byte(v)
		}
		if v := s.Data[k]; len(v) > 0 {
			return v
		}
	}
	return nil
}

// secret checks a Secret. No message holds any of its content.
func (c *compiler) secret(o *istio.Object[*corev1.Secret], s *mesh.Secret) bool {
	fail := func(message, fix string) bool {
		c.report(&o.Meta, "", istio.Error, codeCredential, message+": no gateway gets it", fix)
		return false
	}
	switch {
	case s.Certificate == nil && s.CA == nil:
		return fail("a Gateway names this Secret, which holds neither tls.crt nor ca.crt",
			"write tls.crt and tls.key (or cert and key), and ca.crt (or cacert) for the roots of clients")
	case s.Certificate != nil && s.Key == nil:
		return fail("a certificate without its key", "add tls.key")
	}
	if s.Certificate != nil {
		if _, err := tls.X509KeyPair(s.Certificate, s.Key); err != nil {
			return fail("the certificate and key are no pair that TLS can use", "both are PEM, and tls.key is the key of the first certificate in tls.crt")
		}
	}
	if s.CA != nil && !x509.NewCertPool().AppendCertsFromPEM(s.CA) {
		return fail("ca.crt holds no certificate", "it is PEM")
	}
	return true
}

// secretNames are the Kubernetes names in a server's TLS.
func secretNames(t *mesh.ServerTLS) []string {
	if t == nil {
		return nil
	}
	var out []string
	for _, s := range append([]mesh.CertSource{t.Roots}, t.Certificates...) {
		if n, ok := strings.CutPrefix(s.Secret, mesh.KubernetesSecret); ok {
			out = append(out, n)
		}
	}
	return out
}

// analyzeSecrets tells of Secrets that a server names and that are not there, in the namespaces of the pods that its Gateway
// selects, or anywhere if there are none yet.
func (c *compiler) analyzeSecrets() {
	have := map[string]bool{}
	for _, o := range c.set.Secrets {
		have["/"+o.Name], have[o.Namespace+"/"+o.Name] = true, true
	}
	for i, o := range c.set.Gateways {
		for j, s := range c.world.Gateways[i].Servers {
			for _, n := range secretNames(s.TLS) {
				for _, ns := range c.gatewayNamespaces(c.world.Gateways[i]) {
					if have[ns+"/"+n] || have[ns+"/"+strings.TrimSuffix(n, mesh.RootsSuffix)] {
						continue
					}
					where := ""
					if ns != "" {
						where = " in namespace " + ns + ", where the gateway's pods are"
					}
					c.report(&o.Meta, index("spec.servers", j)+".tls", istio.Error, codeNotFound,
						fmt.Sprintf("there is no Secret %s%s: connections to this server fail", n, where),
						"add it: kubectl create secret tls "+n+" --cert=FILE --key=FILE --dry-run=client -o yaml")
				}
			}
		}
	}
}

// gatewayNamespaces are those of the pods that a Gateway selects; "" alone if there are none.
func (c *compiler) gatewayNamespaces(g *mesh.Gateway) []string {
	seen := map[string]bool{}
	var out []string
	for _, w := range c.world.Workloads {
		if mesh.Selects(g.Selector, w.Labels) && !seen[w.Namespace] && len(g.Selector) > 0 {
			seen[w.Namespace] = true
			out = append(out, w.Namespace)
		}
	}
	if out == nil {
		return []string{""}
	}
	return out
}
