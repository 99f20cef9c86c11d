package compile

import (
	"fmt"
	"math"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	networking "istio.io/api/networking/v1alpha3"
)

// fault lowers HTTPFaultInjection to one rule of Mizzen's fault policy; nil if it injects nothing.
// As in Istio, a fault without a percentage hits no request: istio.Decode has said so.
func (c *compiler) fault(m *istio.Meta, path string, in *networking.HTTPFaultInjection) *fault.Rule {
	out := &fault.Rule{}
	if d := in.GetDelay(); d != nil {
		out.Delay = &fault.Delay{Percentage: percent(d.GetPercentage()), Fixed: filter.Duration(duration(d.GetFixedDelay()))}
	}
	if a := in.GetAbort(); a != nil {
		out.Abort = &fault.Abort{Percentage: percent(a.GetPercentage()), HTTPStatus: int(a.GetHttpStatus())}
		if name := a.GetGrpcStatus(); name != "" {
			code, ok := grpcCodes[name]
			if !ok {
				c.report(m, path+".abort.grpcStatus", istio.Error, istio.CodeSchema, "unknown gRPC status "+name+": the abort is left out",
					"write a name such as UNAVAILABLE")
				out.Abort = nil
			} else {
				out.Abort.GRPCStatus = &code
			}
		}
	}
	if out.Delay == nil && out.Abort == nil {
		return nil
	}
	if err := (&fault.Config{Rules: []fault.Rule{*out}}).Validate(); err != nil {
		c.report(m, path, istio.Error, istio.CodeSchema, fmt.Sprintf("the fault is left out: %v", err), "")
		return nil
	}
	return out
}

// percent is 0 for nil.
func percent(p *networking.Percent) filter.Percent {
	return filter.Percent(partsPerMillion(p.GetValue()))
}

func partsPerMillion(percent float64) uint32 {
	return uint32(math.Round(min(max(percent, 0), 100) * 10_000))
}

// grpcCodes are the names that Istio takes.
var grpcCodes = map[string]int{
	"OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "ALREADY_EXISTS": 6,
	"PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11,
	"UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "DATA_LOSS": 15, "UNAUTHENTICATED": 16,
}
