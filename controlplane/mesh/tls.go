package mesh

import "time"

// ClientTLS modes (Istio's ClientTLSSettings.mode).
const (
	TLSDisable     = "DISABLE"
	TLSSimple      = "SIMPLE"
	TLSMutual      = "MUTUAL"
	TLSIstioMutual = "ISTIO_MUTUAL"
)

// Secret names of a workload's own identity, as Istio's agent serves them over SDS.
const (
	// SecretIdentity is the workload's certificate and key.
	SecretIdentity = "default"
	// SecretRoots is the mesh's trust bundle.
	SecretRoots = "ROOTCA"
)

// CertSource says where a certificate with its key, or trusted roots, come from: an SDS name, or files that Envoy reads and
// watches. At most one of Secret and the files is set; the zero value is nothing.
type CertSource struct {
	// Secret is an SDS name: SecretIdentity, SecretRoots, or "kubernetes://name[-cacert]" from the control plane.
	Secret string
	// Certificate and Key are files of a certificate chain and its private key; CA is a file of trusted roots, CRL of
	// revoked certificates. PEM.
	Certificate, Key, CA, CRL string
}

// SystemRoots are the roots that the proxy's machine trusts, where Debian and its like keep them: what verifies a server of the
// outside if nobody names roots. Istio's path.
const SystemRoots = "/etc/ssl/certs/ca-certificates.crt"

// IsZero tells whether s names nothing.
func (s CertSource) IsZero() bool { return s == CertSource{} }

// ServerTLS terminates TLS in a filter chain (Envoy's DownstreamTlsContext).
type ServerTLS struct {
	// Certificates are offered to the client: one, or one for each kind of key.
	Certificates []CertSource
	// Roots verify client certificates; zero: none are asked for.
	Roots CertSource
	// RequireClient refuses clients without a certificate; false with Roots: a certificate is verified if there is one.
	RequireClient bool
	// SANs are the subject alternative names of which a client certificate must have one; empty: any.
	SANs []string
	// SPKI and Hashes pin client certificates (base64 SHA-256 of the key; hex SHA-256 of the certificate).
	SPKI, Hashes []string
	// Insecure accepts client certificates of whatever issuer (insecureSkipVerify).
	Insecure bool
	// MinVersion and MaxVersion are Istio's names (TLSV1_2); "" is TLSV1_2 and Envoy's maximum.
	MinVersion, MaxVersion string
	CipherSuites           []string
	Curves                 []string // ECDH; empty: Envoy's
	// ALPN protocols offered, in order; empty: none.
	ALPN []string
}

// Chain is one filter chain of a listener with several: what a connection must be, whether TLS ends here, and what becomes of
// it. Exactly one of Table and Clusters is set.
type Chain struct {
	Name string
	// SNI is the server names, exact or "*.suffix"; empty: any, TLS or not unless TransportTLS.
	SNI []string
	// TransportTLS wants a TLS connection whatever its server name (needs the TLS inspector).
	TransportTLS bool
	// ALPN is application protocols offered by the client; empty: any.
	ALPN []string
	// Destinations and Sources are CIDR ranges of the connection's original destination and of its peer; empty: any.
	Destinations, Sources []string
	// DestinationPort is the original destination's; 0: any.
	DestinationPort uint32
	TLS             *ServerTLS // nil: not terminated here
	Table           string     // RouteTable for HTTP
	// Clusters are weighted; a connection goes to one of them.
	Clusters []*WeightedCluster
	// IdleTimeout of a TCP chain; 0: Envoy's hour.
	IdleTimeout time.Duration
	// NamePort, if not 0, has the connection go to the host that its TLS names, whatever it is, on this port: its cluster is a
	// ClusterDynamicDNS.
	NamePort uint32
	Tunnel   *Tunnel // of TCP; nil: the connection goes as it is
	Origins  []Origin
}

// Tunnel is DestinationRule's trafficPolicy.tunnel: an HTTP CONNECT or POST to "Host:Port", in which the connection goes.
type Tunnel struct {
	Post bool // POST rather than CONNECT
	Host string
	Port uint32
}

// UpstreamTLS originates TLS in a cluster (Envoy's UpstreamTlsContext).
type UpstreamTLS struct {
	// Auto: only to hosts with Endpoint.TLS, and plaintext to the others.
	Auto bool
	// Certificate is the client's own; zero: none.
	Certificate CertSource
	// Roots verify the server; zero: the system's, unless Insecure.
	Roots CertSource
	// SANs are the names of which the server's certificate must have one; empty: any, or the request's host with HostSNI.
	SANs []string
	SNI  string // "": none, or the request's host with HostSNI
	// HostSNI takes what SNI and SANs leave open from the request's host. HTTP only.
	HostSNI  bool
	Insecure bool
	// Parameters bound version, ciphers and curves; nil: Envoy's.
	Parameters *TLSParameters
	// Mesh offers the mesh's protocols (ALPN), by which PERMISSIVE servers know a mesh client.
	Mesh bool
}
