package istio

// edgeRules is the support table of what stands at a mesh's edges: TLS of Gateways, routes of bytes, delegation.
func edgeRules() []supportRule {
	return []supportRule{
		yes("VirtualService", "tls tcp"),
		yes("TLSRoute", "match route"),
		yes("TLSMatchAttributes", "sniHosts destinationSubnets port sourceLabels gateways sourceNamespace"),
		yes("TCPRoute", "match route"),
		yes("L4MatchAttributes", "destinationSubnets port sourceLabels gateways sourceNamespace"),
		idle("L4MatchAttributes", "sourceSubnet", "as in Istio, nothing looks at it: write sourceLabels"),
		yes("RouteDestination", "destination weight"),
		yes("HTTPRoute", "delegate"),
		yes("Delegate", "name namespace"),
		refuse("Port", "protocol", "UDP", "Envoy's gateway takes TCP connections only, as Istio's does"),
		yes("ServerTLSSettings", "httpsRedirect mode serverCertificate privateKey caCertificates caCrl credentialName credentialNames "+
			"caCertCredentialName tlsCertificates subjectAltNames verifyCertificateSpki verifyCertificateHash minProtocolVersion maxProtocolVersion cipherSuites insecureSkipVerify"),
		refuse("ServerTLSSettings", "mode", "AUTO_PASSTHROUGH", "it leads to other networks' clusters by name, and Mizzen has one network: write PASSTHROUGH and a VirtualService with tls routes"),
		yes("ServerTLSSettings.TLSCertificate", "serverCertificate privateKey"),
		no("ServerTLSSettings.TLSCertificate", "caCertificates", "the server's caCertificates verify clients: write them there"),
	}
}
