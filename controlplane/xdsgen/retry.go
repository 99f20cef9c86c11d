package xdsgen

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previoushostsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	previousprioritiesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/priority/previous_priorities/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// hostAttempts is Istio's host_selection_retry_max_attempts: how often Envoy draws again to avoid a host tried before.
const hostAttempts = 5

// inboundRetryOn covers the application closing an idle connection just as a request is to be sent on it: nothing
// reached it, so trying again is safe. As Istio since 1.24.
const inboundRetryOn = "reset-before-request"

// retryPolicy translates r; nil for none. hashed destinations keep their host, so previous hosts are not avoided.
func retryPolicy(r *mesh.Retries, hashed bool) *routev3.RetryPolicy {
	if r == nil || r.Attempts == 0 {
		return nil
	}
	out := &routev3.RetryPolicy{
		RetryOn: r.On, NumRetries: wrapperspb.UInt32(r.Attempts), RetriableStatusCodes: r.StatusCodes,
	}
	if r.PerTry > 0 {
		out.PerTryTimeout = durationpb.New(r.PerTry)
	}
	if r.Backoff > 0 {
		// Envoy refuses less than a millisecond.
		out.RetryBackOff = &routev3.RetryPolicy_RetryBackOff{BaseInterval: durationpb.New(max(r.Backoff, time.Millisecond))}
	}
	if r.AvoidPrevious && !hashed {
		out.HostSelectionRetryMaxAttempts = hostAttempts
		out.RetryHostPredicate = []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: previousHosts()},
		}}
	}
	if r.RemoteLocality {
		out.RetryPriority = &routev3.RetryPolicy_RetryPriority{
			Name:       "envoy.retry_priorities.previous_priorities",
			ConfigType: &routev3.RetryPolicy_RetryPriority_TypedConfig{TypedConfig: previousPriorities()},
		}
	}
	return out
}

func previousHosts() *anypb.Any { return mustAny(&previoushostsv3.PreviousHostsPredicate{}) }

func previousPriorities() *anypb.Any {
	return mustAny(&previousprioritiesv3.PreviousPrioritiesConfig{UpdateFrequency: 2})
}
