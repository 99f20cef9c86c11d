package dynmod

import (
	"testing"

	"github.com/envoyproxy/envoy/source/extensions/dynamic_modules/sdk/go/shared"
)

// TestABINumbers holds our own declarations of Envoy's ABI equal to its SDK's.
func TestABINumbers(t *testing.T) {
	for _, c := range []struct {
		name      string
		ours, sdk int
	}{
		{"response.code", numbers.responseCode, int(shared.AttributeIDResponseCode)},
		{"response.code_details", numbers.responseDetails, int(shared.AttributeIDResponseCodeDetails)},
		{"response.grpc_status", numbers.grpcStatus, int(shared.AttributeIDResponseGrpcStatus)},
		{"upstream.address", numbers.upstreamAddress, int(shared.AttributeIDUpstreamAddress)},
		{"source.address", numbers.sourceAddress, int(shared.AttributeIDSourceAddress)},
		{"xds.route_name", numbers.routeName, int(shared.AttributeIDXdsRouteName)},
		{"continue", numbers.goOn, int(shared.HeadersStatusContinue)},
		{"stop", numbers.stopAll, int(shared.HeadersStatusStopAllAndWatermark)},
		{"error", numbers.logError, int(shared.LogLevelError)},
		{"callout started", calloutStarted, int(shared.HttpCalloutInitSuccess)},
		{"callout lacks headers", calloutMissing, int(shared.HttpCalloutInitMissingRequiredHeaders)},
		{"callout to an unknown cluster", calloutUnknown, int(shared.HttpCalloutInitClusterNotFound)},
		{"callout answered", calloutAnswered, int(shared.HttpCalloutSuccess)},
		{"callout reset", calloutReset, int(shared.HttpCalloutReset)},
	} {
		if c.ours != c.sdk {
			t.Errorf("%s: %d, the SDK says %d", c.name, c.ours, c.sdk)
		}
	}
}
