package native

import (
	"errors"
	"time"

	commonfaultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/fault/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
)

// FaultFilter is the name of Envoy's fault filter.
const FaultFilter = "envoy.filters.http.fault"

// Fault translates one rule of c to Envoy's fault filter, as the configuration of a route that the rule's Match holds for: the
// route is the caller's, and Match is not looked at.
func Fault(r *fault.Rule, c *fault.Config) (*faultv3.HTTPFault, error) {
	if r.Key != nil {
		return nil, errors.New("stock Envoy's fault filter draws for each request: faults by key are Mizzen's own")
	}
	if !r.From.IsZero() || !r.Until.IsZero() {
		return nil, errors.New("stock Envoy's fault filter has no schedule")
	}
	out := &faultv3.HTTPFault{}
	if c.MaxActive > 0 {
		out.MaxActiveFaults = wrapperspb.UInt32(c.MaxActive)
	}
	var err error
	if out.Delay, err = delay(r.Delay, c.AllowHeaders); err != nil {
		return nil, err
	}
	if out.Abort, err = abort(r.Abort, c.AllowHeaders); err != nil {
		return nil, err
	}
	if rate := r.ResponseRate; rate != nil {
		out.ResponseRateLimit = &commonfaultv3.FaultRateLimit{
			LimitType: &commonfaultv3.FaultRateLimit_FixedLimit_{
				FixedLimit: &commonfaultv3.FaultRateLimit_FixedLimit{LimitKbps: rate.KiBPerS},
			},
			Percentage: fraction(rate.Percentage),
		}
	}
	return out, nil
}

func delay(d *fault.Delay, headers bool) (*commonfaultv3.FaultDelay, error) {
	if d == nil {
		return nil, nil
	}
	out := &commonfaultv3.FaultDelay{Percentage: fraction(d.Percentage)}
	switch {
	case d.Distribution != nil:
		return nil, errors.New("stock Envoy's fault filter delays by a fixed time: it has no distributions")
	case headers && d.Fixed != 0:
		return nil, errors.New("a delay is fixed or by header in Envoy, not both")
	case headers:
		out.FaultDelaySecifier = &commonfaultv3.FaultDelay_HeaderDelay_{HeaderDelay: &commonfaultv3.FaultDelay_HeaderDelay{}}
	default:
		out.FaultDelaySecifier = &commonfaultv3.FaultDelay_FixedDelay{FixedDelay: durationpb.New(time.Duration(d.Fixed))}
	}
	return out, nil
}

func abort(a *fault.Abort, headers bool) (*faultv3.FaultAbort, error) {
	if a == nil {
		return nil, nil
	}
	out := &faultv3.FaultAbort{Percentage: fraction(a.Percentage)}
	switch fixed := a.HTTPStatus != 0 || a.GRPCStatus != nil; {
	case a.Reset:
		return nil, errors.New("stock Envoy's fault filter always answers: it resets no stream")
	case a.AfterResponse:
		return nil, errors.New("stock Envoy's fault filter aborts before the upstream is asked, not after the response")
	case headers && fixed:
		return nil, errors.New("an abort is fixed or by header in Envoy, not both")
	case headers:
		out.ErrorType = &faultv3.FaultAbort_HeaderAbort_{HeaderAbort: &faultv3.FaultAbort_HeaderAbort{}}
	case a.GRPCStatus != nil:
		out.ErrorType = &faultv3.FaultAbort_GrpcStatus{GrpcStatus: uint32(*a.GRPCStatus)}
	default:
		out.ErrorType = &faultv3.FaultAbort_HttpStatus{HttpStatus: uint32(a.HTTPStatus)}
	}
	return out, nil
}

// fraction uses whole percents where it can: a percentage header of a request counts in the same unit.
func fraction(p filter.Percent) *typev3.FractionalPercent {
	if p%(filter.Whole/100) == 0 {
		return &typev3.FractionalPercent{Numerator: uint32(p / (filter.Whole / 100)), Denominator: typev3.FractionalPercent_HUNDRED}
	}
	return &typev3.FractionalPercent{Numerator: uint32(p), Denominator: typev3.FractionalPercent_MILLION}
}
