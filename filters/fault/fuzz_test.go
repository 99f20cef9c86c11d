package fault_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/filters/fault"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/filtertest"
)

// FuzzParseConfig: any configuration that is taken, and any of the headers by which requests ask for faults.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"allowHeaders":true,"maxActive":1,"rules":[{"name":"r","delay":{"percentage":100},"abort":{"percentage":100},"responseRate":{"percentage":100}}]}`), "5", "500", "7")
	f.Add([]byte(`{"rules":[{"key":{"header":"x-h"},"delay":{"percentage":100,"distribution":{"kind":"pareto","min":"1ms","shape":0.1}},"abort":{"percentage":50,"grpcStatus":3,"afterResponse":true}}]}`), "", "", "")
	f.Add([]byte(`{"rules":[{"from":"2026-01-01T00:00:00Z","metadata":{"a":"b"},"delay":{"percentage":100,"distribution":{"kind":"histogram","percentiles":[{"p":0,"value":"1ms"},{"p":100,"value":"1s"}]}},"responseRate":{"percentage":33.3333,"kibPerSecond":1073741824}}]}`), "1e9", "NaN", "18446744073709551615")
	f.Fuzz(func(t *testing.T, raw []byte, asked, percentage, rate string) {
		c, err := fault.ParseConfig(raw)
		if err != nil {
			return
		}
		p, err := fault.New(c, filtertest.Env())
		if err != nil {
			t.Fatalf("a valid configuration is refused: %v", err)
		}
		r := &filtertest.Runner{Base: filtertest.Single("fault", p)}
		res := r.Do("x-envoy-fault-delay-request: "+asked, "x-envoy-fault-delay-request-percentage: "+percentage,
			"x-envoy-fault-abort-request: "+asked, "x-envoy-fault-abort-grpc-request: "+asked, "x-envoy-fault-abort-request-percentage: "+percentage,
			"x-envoy-fault-throughput-response: "+rate, "x-envoy-fault-throughput-response-percentage: "+percentage, "x-h: "+percentage)
		if res.Host.Counted(filter.MetricPanics, "fault") != 0 || res.Host.Counted(fault.MetricActive) != 0 || res.Waited < 0 || res.Waited > 60*24*time.Hour {
			t.Fatalf("waited %v, %v, %v", res.Waited, res.Host.Annotations, res.Host.Series())
		}
		if res.Request == nil || !c.Throttles() {
			return
		}
		if told, ok := res.Request.Get(fault.ThroughputHeader); ok {
			if n, err := strconv.ParseUint(told, 10, 64); err != nil || n < 1 || n > fault.MaxRate {
				t.Fatalf("Envoy's filter is told %q", told)
			}
		}
	})
}
