package generated

import "fmt"

func edgeValues() map[string]func(*generator) any {
	return map[string]func(*generator) any{
		"Gateway.selector=": func(g *generator) any { return map[string]any{"istio": "ingressgateway"} },
		"Port.number":       one(80, 443, 8080, 8443, 15443, 9000), "Port.name": func(g *generator) any { return fmt.Sprintf("p%d", g.rand.IntN(1000)) },
		"Port.protocol": one("HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS", "TCP"), "Server.name": one("main"), "Server.bind": one("127.0.0.1", "0.0.0.0"),
		"Server.hosts":                        one("*", "shop.example.com", "*.example.com", "*/api.example.com", "./x.example.com", "default/*"),
		"ServerTLSSettings.serverCertificate": func(g *generator) any { return g.opt.Keys.CertificateFile }, "ServerTLSSettings.privateKey": func(g *generator) any { return g.opt.Keys.KeyFile },
		"ServerTLSSettings.caCertificates": func(g *generator) any { return g.opt.Keys.CAFile }, "ServerTLSSettings.caCrl": func(g *generator) any { return g.opt.Keys.CRLFile },
		"ServerTLSSettings.credentialName": one("credential", "mutual"), "ServerTLSSettings.credentialNames=": one([]any{"credential"}, []any{"mutual"}), "ServerTLSSettings.caCertCredentialName": one("roots"),
		"ServerTLSSettings.TLSCertificate.serverCertificate": func(g *generator) any { return g.opt.Keys.CertificateFile }, "ServerTLSSettings.TLSCertificate.privateKey": func(g *generator) any { return g.opt.Keys.KeyFile },
		"verifyCertificateHash": one("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"), "verifyCertificateSpki": one("NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="),
		"cipherSuites":           one("ECDHE-ECDSA-AES128-GCM-SHA256", "AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"),
		"ServiceEntry.hosts":     func(g *generator) any { return g.entryHost() },
		"ServiceEntry.addresses": one("240.1.2.3", "10.200.0.1", "10.201.0.0/16", "fd00::1"),
		"ServicePort.number":     func(g *generator) any { return pick(g, 80, 443, 8080, 9080, 3306, 7000+g.rand.IntN(10)) }, "ServicePort.name": func(g *generator) any { return fmt.Sprintf("p%d", g.rand.IntN(1000)) },
		"ServicePort.protocol": one("HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP", "http", "MYSQL", "REDIS"), "ServicePort.targetPort": one(80, 8080, 65535),
		"WorkloadEntry.address": one("127.9.99.1", "127.9.99.2", "::1", "unix:///tmp/none.sock", "one.example.com"), "WorkloadEntry.ports=": func(g *generator) any { return map[string]any{"http": pick(g, 80, 8080)} },
		"WorkloadEntry.labels=": func(g *generator) any { return g.labels() }, "WorkloadEntry.locality": one("r1/z1/s1", "r2", "r1/z2"), "WorkloadEntry.weight": one(1, 10, 100), "serviceAccount": one("reviews", "default"),
		"WorkloadGroup.ObjectMeta.labels=": func(g *generator) any { return g.labels() }, "WorkloadSelector.labels=": func(g *generator) any { return g.labels() },
		"WorkloadSelector.matchLabels=": func(g *generator) any { return g.labels() },
		"SidecarPort.number":            func(g *generator) any { return pick(g, g.port(), 8088, 7070) }, "SidecarPort.protocol": one("HTTP", "TCP", "GRPC", "HTTP2", "TLS", "HTTPS"), "SidecarPort.name": one("http", "tcp", "x"),
		"IstioIngressListener.bind": one("127.9.3.1", "0.0.0.0"), "IstioIngressListener.defaultEndpoint": one("127.0.0.1:8081", "0.0.0.0:9999", "unix:///tmp/none.sock"),
		"IstioEgressListener.hosts": one("./*", "*/*", "shop/*", "istio-system/*", "*/reviews.default.svc.cluster.local", "~/*", "~shop/*"), "IstioEgressListener.bind": one("127.0.0.1", "0.0.0.0", "127.9.3.2"),
	}
}

func securityValues() map[string]func(*generator) any {
	principal := one("cluster.local/ns/default/sa/reviews", "*", "cluster.local/ns/shop/*", "*/sa/default")
	ip, account := one("10.0.0.0/8", "1.2.3.4", "fd00::/8", "0.0.0.0/0"), one("default/reviews", "reviews")
	namespace, domain := one("default", "shop", "*", "sh*"), one("cluster.local", "td2", "*")
	host, ports, methods := one("shop.example.com", "*.example.com", "*", "reviews*"), one("80", "9080", "65535"), one("GET", "POST", "*", "P*")
	paths := one("/", "/admin*", "*.html", "/a/{*}/b", "/x/{**}", "*")
	out := map[string]func(*generator) any{
		"PeerAuthentication.portLevelMtls#": one("9080", "8080", "9090"), "AuthorizationPolicy.ExtensionProvider.name": one("ext-http", "ext-grpc"),
		"PolicyTargetReference.group": one(""), "PolicyTargetReference.kind": one("Service"), "PolicyTargetReference.name": func(g *generator) any { return g.own().name },
		"Source.requestPrincipals": one("*", "issuer/*", "https://issuer.example/sub"), "Source.notRequestPrincipals": one("issuer/bad"),
		"Condition.key": one("request.headers[x-user]", "source.ip", "remote.ip", "source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain", "request.auth.principal", "request.auth.audiences",
			"request.auth.presenter", "request.auth.claims[group]", "request.auth.claims[a][b]", "destination.ip", "destination.port", "connection.sni", "experimental.envoy.filters.network.mysql_proxy[db.table]"),
		"JWTRule.issuer": one("issuer", "https://issuer.example"), "JWTRule.audiences": one("aud", "https://a"), "JWTRule.jwks": one(jwks),
		"JWTRule.jwksUri": one("http://reviews.default.svc.cluster.local:9080/keys", "https://issuer.example/keys", "http://127.0.0.1:9/x"), "JWTHeader.name": headerName, "JWTHeader.prefix": one("Bearer ", "x-"),
		"JWTRule.outputPayloadToHeader": one("x-payload"), "ClaimToHeader.header": one("x-claim", "x-sub"), "ClaimToHeader.claim": one("sub", "nested.group"), "JWTRule.spaceDelimitedClaims": one("scope", "role"),
	}
	for _, not := range []string{"", "not"} {
		for name, value := range map[string]func(*generator) any{
			"principals": principal, "namespaces": namespace, "serviceAccounts": account, "ipBlocks": ip, "remoteIpBlocks": ip, "trustDomains": domain,
			"hosts": host, "ports": ports, "methods": methods, "paths": paths,
		} {
			message := "Source."
			switch name {
			case "hosts", "ports", "methods", "paths":
				message = "Operation."
			}
			if not != "" {
				name = not + string(name[0]-'a'+'A') + name[1:]
			}
			out[message+name] = value
		}
	}
	return out
}

// jwks is a key set of one key.
const jwks = `{"keys":[{"kty":"oct","kid":"a","k":"aGVsbG8taGVsbG8taGVsbG8taGVsbG8taGVsbG8","alg":"HS256"}]}`
