package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
)

// Sensitive is bytes that no log, dump or debug page may show: printed and marshalled they are a hash of themselves.
type Sensitive []byte

// String returns a hash, or "" of nothing.
func (s Sensitive) String() string {
	if len(s) == 0 {
		return ""
	}
	sum := sha256.Sum256(s)
	return "sha256:" + hex.EncodeToString(sum[:16])
}

// GoString is String.
func (s Sensitive) GoString() string { return s.String() }

// MarshalJSON writes the hash, by which equal secrets are told from others.
func (s Sensitive) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalText writes the hash.
func (s Sensitive) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue logs the hash.
func (s Sensitive) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Secret is a Kubernetes Secret that some Gateway names. PEM; what it does not hold is nil.
type Secret struct {
	Namespace, Name  string
	Certificate, Key Sensitive
	CA, CRL          Sensitive
	Origin           Origin
}

// ServedSecret is a secret as one proxy gets it over SDS: a certificate with its key, or trusted roots.
type ServedSecret struct {
	Name             string // "kubernetes://name" or "kubernetes://name-cacert"
	Certificate, Key Sensitive
	CA, CRL          Sensitive // with Certificate nil
	Origin           Origin
}

// KubernetesSecret is the SDS name of a Secret, RootsSuffix what its roots' name ends in, as in Istio.
const (
	KubernetesSecret = "kubernetes://"
	RootsSuffix      = "-cacert"
)

// L4Route is one TCPRoute or TLSRoute of a VirtualService.
type L4Route struct {
	Matches      []*L4Match // empty: everything
	Destinations []*Destination
	Origin       Origin
}

// L4Match is one L4MatchAttributes or TLSMatchAttributes.
type L4Match struct {
	SNI     []string // of a TLSRoute: exact or "*.suffix"
	Subnets []string // CIDR ranges of the connection's original destination; nil: any
	// Static selectors, evaluated by the view. Gateways nil: the VirtualService's own.
	Port            uint32 // 0: any
	Gateways        []string
	SourceLabels    map[string]string
	SourceNamespace string
}
