package istio

// FormerField is a field that Istio's messages no longer have, and that Decode still reads: a schema of them must let it in.
type FormerField struct {
	Message string // without its package: HTTPRoute
	Name    string
	Now     string // what it is read as; "" if it had become needless
}

// FormerFields are those that the rewriters know and the protobuf messages do not.
func FormerFields() []FormerField {
	out := []FormerField{
		{"HTTPRoute", "websocketUpgrade", ""},
		{"HTTPRoute", "mirror_percent", "mirrorPercentage"}, // Istio's definitions have these two in snake_case, too
		{"JWTRule", "jwks_uri", "jwksUri"},
		{"HTTPFaultInjection.Abort", "percent", "percentage"},
		{"Destination", "name", "host"},
		{"DestinationRule", "name", "host"},
		{"OutlierDetection", "http", "the fields below it"},
		{"ServiceEntry", "discovery", "resolution"},
		{"EnvoyFilter", "workloadLabels", "workloadSelector.labels"},
	}
	for _, message := range []string{"HTTPRoute", "HTTPRouteDestination"} {
		for _, h := range flatHeaders() {
			out = append(out, FormerField{message, h.camel, "headers." + h.side + "." + h.op})
		}
	}
	return out
}
