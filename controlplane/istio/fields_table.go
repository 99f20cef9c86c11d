package istio

import "slices"

// supportRule is one line of the support table: fields of one message of Istio's API, wherever that message stands.
type supportRule struct {
	message string // without its package
	fields  string // JSON names, separated by blanks; "*": the others
	status  Status
	reason  string
	values  string // if set, the rule is about these enum values of the fields only
}

const (
	notYet    = "not in this version: "
	needsTLS  = notYet + "TLS comes with identities; here every connection is plaintext"
	needsL4   = notYet + "only HTTP is routed"
	noNetwork = "Mizzen has one network: every address is reached directly"
)

// supportRules is THE support table. A field of the API that it does not name fails a test, and so does a name that the API
// does not have. To support a field, change its line here; architecture.md says what else.
func supportRules() []supportRule {
	return slices.Concat(virtualServiceRules(), destinationRuleRules(), gatewayRules(), edgeRules(), serviceEntryRules(), sidecarRules(), meshConfigRules(), proxyConfigRules(), telemetryRules(), authzRules(), identityRules(), extensionRules())
}

func yes(message, fields string) supportRule { return supportRule{message: message, fields: fields} }

func no(message, fields, reason string) supportRule {
	return supportRule{message: message, fields: fields, status: Rejected, reason: reason}
}

func idle(message, fields, reason string) supportRule {
	return supportRule{message: message, fields: fields, status: Ignored, reason: reason}
}

func word(message, fields string) supportRule {
	return supportRule{message: message, fields: fields, status: Descriptive, reason: "for people; nothing depends on it"}
}

func old(message, fields, now string) supportRule {
	return supportRule{message: message, fields: fields, status: Obsolete, reason: "read as " + now}
}

func refuse(message, field, values, reason string) supportRule {
	return supportRule{message: message, fields: field, values: values, reason: reason}
}

func virtualServiceRules() []supportRule {
	return []supportRule{
		yes("VirtualService", "hosts gateways http exportTo"),
		yes("HTTPRoute", "name match route redirect directResponse rewrite timeout retries fault mirror mirrors mirrorPercentage corsPolicy headers"),
		old("HTTPRoute", "mirrorPercent", "mirrorPercentage"),
		yes("HTTPMatchRequest", "name uri scheme method authority headers port sourceLabels gateways queryParams ignoreUriCase withoutHeaders sourceNamespace statPrefix"),
		yes("StringMatch", "exact prefix regex"),
		yes("HTTPRouteDestination", "destination weight headers"),
		yes("Destination", "host subset port"),
		yes("PortSelector", "number"),
		yes("Headers", "request response"),
		yes("Headers.HeaderOperations", "set add remove"),
		yes("HTTPRedirect", "uri authority port derivePort scheme redirectCode prefixRewrite"),
		yes("HTTPDirectResponse", "status body"),
		yes("HTTPBody", "string bytes"),
		yes("HTTPRewrite", "uri authority uriRegexRewrite"),
		yes("RegexRewrite", "match rewrite"),
		yes("HTTPRetry", "attempts perTryTimeout retryOn retryRemoteLocalities retryIgnorePreviousHosts backoff"),
		yes("HTTPFaultInjection", "delay abort"),
		yes("HTTPFaultInjection.Delay", "fixedDelay percentage"),
		no("HTTPFaultInjection.Delay", "exponentialDelay", "Istio never gave it a meaning: write fixedDelay"),
		old("HTTPFaultInjection.Delay", "percent", "percentage"),
		yes("HTTPFaultInjection.Abort", "httpStatus grpcStatus percentage"),
		no("HTTPFaultInjection.Abort", "http2Error", "Istio never gave it a meaning: write httpStatus or grpcStatus"),
		yes("Percent", "value"),
		yes("HTTPMirrorPolicy", "destination percentage"),
		yes("CorsPolicy", "allowOrigins allowMethods allowHeaders exposeHeaders maxAge allowCredentials unmatchedPreflights"),
		old("CorsPolicy", "allowOrigin", "allowOrigins with exact"),
	}
}

func gatewayRules() []supportRule {
	return []supportRule{
		yes("Gateway", "servers selector"),
		yes("Server", "port bind hosts tls"),
		word("Server", "name"),
		idle("Server", "defaultEndpoint", "as in Istio, it is never used"),
		yes("Port", "number protocol name"),
		no("Port", "targetPort", "it never had an effect: the gateway listens on number"),
	}
}
