package istio

// authzRules is the support table of AuthorizationPolicy, RequestAuthentication and MeshConfig's external authorizers.
func authzRules() []supportRule {
	return []supportRule{
		yes("AuthorizationPolicy", "selector targetRef targetRefs rules action provider"),
		yes("AuthorizationPolicy.ExtensionProvider", "name"),
		yes("PolicyTargetReference", "group kind name"),
		no("PolicyTargetReference", "namespace", "as in Istio, a target is in the policy's own namespace"),
		yes("Rule", "from to when"),
		yes("Rule.From", "source"),
		yes("Rule.To", "operation"),
		yes("Source", "principals notPrincipals requestPrincipals notRequestPrincipals namespaces notNamespaces serviceAccounts notServiceAccounts"),
		yes("Source", "ipBlocks notIpBlocks remoteIpBlocks notRemoteIpBlocks trustDomains notTrustDomains"),
		yes("Operation", "hosts notHosts ports notPorts methods notMethods paths notPaths"),
		yes("Condition", "key values notValues"),

		yes("RequestAuthentication", "selector targetRef targetRefs jwtRules"),
		yes("JWTRule", "issuer audiences jwksUri jwks fromHeaders fromParams fromCookies outputPayloadToHeader forwardOriginalToken outputClaimToHeaders timeout spaceDelimitedClaims"),
		yes("JWTHeader", "name prefix"),
		yes("ClaimToHeader", "header claim"),

		yes("MeshConfig", "trustDomainAliases"),
		yes("MeshConfig.ExtensionProvider", "envoyExtAuthzHttp envoyExtAuthzGrpc"),
		yes("MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationHttpProvider", "service port timeout pathPrefix failOpen clearRouteCache statusOnError includeHeadersInCheck includeRequestHeadersInCheck includeAdditionalHeadersInCheck includeRequestBodyInCheck headersToUpstreamOnAllow headersToDownstreamOnDeny headersToDownstreamOnAllow"),
		yes("MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationGrpcProvider", "service port timeout failOpen clearRouteCache statusOnError includeRequestBodyInCheck"),
		yes("MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationRequestBody", "maxRequestBytes allowPartialMessage packAsBytes"),
	}
}
