package istio

// identityRules is the support table of PeerAuthentication and of TLS that clients originate.
func identityRules() []supportRule {
	return []supportRule{
		yes("PeerAuthentication", "selector mtls portLevelMtls"),
		yes("PeerAuthentication.MutualTLS", "mode"),
		yes("ClientTLSSettings", "mode clientCertificate privateKey caCertificates credentialName subjectAltNames sni insecureSkipVerify caCrl"),
		yes("ServiceEntry", "subjectAltNames"),
	}
}
