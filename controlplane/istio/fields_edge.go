package istio

// edgeRules is the support table of what stands at a mesh's edges: TLS of Gateways.
func edgeRules() []supportRule {
	return []supportRule{
		refuse("Port", "protocol", "TLS TCP MONGO MYSQL REDIS", needsL4),
		refuse("Port", "protocol", "UDP", "Envoy's gateway takes TCP connections only, as Istio's does"),
		yes("ServerTLSSettings", "httpsRedirect mode serverCertificate privateKey caCertificates caCrl credentialName credentialNames "+
			"caCertCredentialName tlsCertificates subjectAltNames verifyCertificateSpki verifyCertificateHash minProtocolVersion maxProtocolVersion cipherSuites insecureSkipVerify"),
		refuse("ServerTLSSettings", "mode", "AUTO_PASSTHROUGH", "it leads to other networks' clusters by name, and Mizzen has one network: write PASSTHROUGH and a VirtualService with tls routes"),
		refuse("ServerTLSSettings", "mode", "PASSTHROUGH", needsL4),
		yes("ServerTLSSettings.TLSCertificate", "serverCertificate privateKey"),
		no("ServerTLSSettings.TLSCertificate", "caCertificates", "the server's caCertificates verify clients: write them there"),
	}
}
