package compile

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	networking "istio.io/api/networking/v1alpha3"
)

// defaultRetryOn is Istio's: nothing that the upstream may have acted upon.
const defaultRetryOn = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"

// defaultRetries is used by routes that say nothing.
func defaultRetries() *mesh.Retries {
	return &mesh.Retries{Attempts: 2, On: defaultRetryOn, AvoidPrevious: true}
}

// retries lowers HTTPRetry. Numbers in retryOn are status codes and bring retriable-status-codes with them.
func retries(in *networking.HTTPRetry) *mesh.Retries {
	if in.GetAttempts() <= 0 {
		return &mesh.Retries{}
	}
	out := &mesh.Retries{
		Attempts:       uint32(in.GetAttempts()),
		PerTry:         duration(in.GetPerTryTimeout()),
		On:             defaultRetryOn,
		Backoff:        duration(in.GetBackoff()),
		AvoidPrevious:  in.GetRetryIgnorePreviousHosts() == nil || in.GetRetryIgnorePreviousHosts().GetValue(),
		RemoteLocality: in.GetRetryRemoteLocalities().GetValue(),
	}
	if in.GetRetryOn() == "" {
		return out
	}
	var on []string
	for _, word := range strings.Split(in.GetRetryOn(), ",") {
		word = strings.TrimSpace(word)
		if code, err := strconv.ParseUint(word, 10, 16); err == nil {
			out.StatusCodes = append(out.StatusCodes, uint32(code))
		} else if word != "" {
			on = append(on, word)
		}
	}
	if len(out.StatusCodes) > 0 && !slices.Contains(on, "retriable-status-codes") {
		on = append(on, "retriable-status-codes")
	}
	out.On = strings.Join(on, ",")
	return out
}
