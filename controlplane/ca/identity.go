package ca

import (
	"fmt"
	"net/url"
	"strings"
)

// Identity is a workload's name in certificates: spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
type Identity struct{ TrustDomain, Namespace, ServiceAccount string }

// String formats as a SPIFFE id (Istio's form of the path).
func (i Identity) String() string {
	return "spiffe://" + i.TrustDomain + "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount
}

// URL is the identity as it stands in a certificate.
func (i Identity) URL() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: i.TrustDomain, Path: "/ns/" + i.Namespace + "/sa/" + i.ServiceAccount}
}

// Validate refuses identities that could be read as another one.
func (i Identity) Validate() error {
	for _, p := range []struct{ what, text string }{
		{"trust domain", i.TrustDomain}, {"namespace", i.Namespace}, {"service account", i.ServiceAccount},
	} {
		if p.text == "" || strings.Trim(p.text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:") != "" {
			return fmt.Errorf("identity %s: %s %q: want letters, digits, '-', '.', '_' and ':'", i, p.what, p.text)
		}
	}
	return nil
}

// ParseIdentity reads a SPIFFE id of Istio's form.
func ParseIdentity(id string) (Identity, error) {
	rest, ok := strings.CutPrefix(id, "spiffe://")
	p := strings.Split(rest, "/")
	if !ok || len(p) != 5 || p[1] != "ns" || p[3] != "sa" {
		return Identity{}, fmt.Errorf("parse identity %q: want spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT", id)
	}
	i := Identity{p[0], p[2], p[4]}
	return i, i.Validate()
}
