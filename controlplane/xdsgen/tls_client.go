package xdsgen

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const (
	rawSocket = "envoy.transport_sockets.raw_buffer"
	// socketMatch is the metadata of an endpoint that chooses among a cluster's transport sockets.
	socketMatch = "envoy.transport_socket_match"
	tlsModeKey  = "tlsMode"
)

// setTransport encrypts a cluster's connections: all of them, or those to endpoints that say that they take mesh TLS.
func setTransport(out *clusterv3.Cluster, c *mesh.Cluster) error {
	t := c.TLS
	if t == nil {
		return nil
	}
	socket, err := clientTransport(t, c)
	if err != nil {
		return fmt.Errorf("cluster %s: %w", c.Name, err)
	}
	if !t.Auto {
		out.TransportSocket = socket
		return nil
	}
	out.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{
		{Name: "tlsMode-" + mesh.TLSModeIstio, Match: tlsModeIstio(), TransportSocket: socket},
		{Name: "tlsMode-disabled", Match: &structpb.Struct{}, TransportSocket: &corev3.TransportSocket{
			Name: rawSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(&rawv3.RawBuffer{})},
		}},
	}
	return nil
}

func tlsModeIstio() *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{tlsModeKey: structpb.NewStringValue(mesh.TLSModeIstio)}}
}

// clientTransport originates TLS.
func clientTransport(t *mesh.UpstreamTLS, c *mesh.Cluster) (*corev3.TransportSocket, error) {
	common := &tlsv3.CommonTlsContext{AlpnProtocols: clientProtocols(t, c)}
	if p := t.Parameters; p != nil {
		common.TlsParams = tlsParameters(&mesh.ServerTLS{MinVersion: p.MinVersion, CipherSuites: p.CipherSuites, Curves: p.Curves})
	}
	if !t.Certificate.IsZero() {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{secretOf(certificateName(t.Certificate))}
	}
	setServerCheck(common, t)
	packed, err := toAny(&tlsv3.UpstreamTlsContext{CommonTlsContext: common, Sni: t.SNI})
	if err != nil {
		return nil, fmt.Errorf("build TLS: %w", err)
	}
	return &corev3.TransportSocket{
		Name: tlsSocket, ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: packed},
	}, nil
}

// clientProtocols are offered by ALPN. A mesh client says that it is one, which a PERMISSIVE server looks for, and if it will send
// requests, which one looks for that cannot know; in which version the server finds in the first bytes, except that HTTP/2 may be
// agreed on.
func clientProtocols(t *mesh.UpstreamTLS, c *mesh.Cluster) []string {
	http, speech := c.Protocol.IsHTTP() && c.Protocol != mesh.Detected, speaks(c, traffic(c).Pool)
	h2 := http && speech == speakHTTP2
	switch {
	case t.Mesh && h2:
		return append([]string{"istio-h2"}, append(meshBytes(), "h2")...)
	case t.Mesh && http:
		return append([]string{"istio-http/1.1"}, meshBytes()...)
	case t.Mesh:
		return meshBytes()
	case h2:
		return []string{"h2"}
	case http && speech == speakHTTP1:
		return []string{"http/1.1"}
	}
	return nil
}

// setServerCheck says how the server's certificate is verified.
func setServerCheck(common *tlsv3.CommonTlsContext, t *mesh.UpstreamTLS) {
	if t.Insecure {
		return
	}
	check := &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: subjectNames(t.SANs)}
	common.ValidationContextType = &tlsv3.CommonTlsContext_CombinedValidationContext{
		CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
			DefaultValidationContext: check, ValidationContextSdsSecretConfig: secretOf(rootsName(verifier(t))),
		},
	}
}

// verifier is what verifies a server's certificate. Envoy has no notion of the system's roots: it takes a file.
func verifier(t *mesh.UpstreamTLS) mesh.CertSource {
	if t.Roots.IsZero() {
		return mesh.CertSource{CA: mesh.SystemRoots}
	}
	return t.Roots
}

// clientFiles are the secrets of files that a cluster's TLS names.
func clientFiles(t *mesh.UpstreamTLS) []*tlsv3.Secret {
	if t == nil {
		return nil
	}
	files := &mesh.ServerTLS{Certificates: []mesh.CertSource{t.Certificate}}
	if !t.Insecure {
		files.Roots = verifier(t)
	}
	return fileSecrets(files)
}

// clusterSecrets are the same as resources.
func clusterSecrets(c *mesh.Cluster) ([]*Resource, error) {
	var out []*Resource
	for _, x := range clientFiles(c.TLS) {
		r, err := resource(x.Name, x)
		if err != nil {
			return nil, err
		}
		r.Origins = c.Origins
		out = append(out, r)
	}
	return out, nil
}

// setHostNames takes SNI and the name to verify from each request, where the user gave none.
func setHostNames(t *mesh.UpstreamTLS) *corev3.UpstreamHttpProtocolOptions {
	if t == nil || !t.HostSNI || t.SNI != "" && len(t.SANs) > 0 {
		return nil
	}
	return &corev3.UpstreamHttpProtocolOptions{
		AutoSni: t.SNI == "", AutoSanValidation: t.SNI == "" && len(t.SANs) == 0 && !t.Insecure,
	}
}

// endpointMetadata marks an endpoint that takes mesh TLS; nil for others.
func endpointMetadata(e *mesh.Endpoint) *corev3.Metadata {
	if !e.TLS {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{socketMatch: tlsModeIstio()}}
}
