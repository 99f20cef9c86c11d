package wasm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// TestMemoryIsBounded runs a mix of exchanges, among them clients that leave during a delay and routes whose
// configuration is always new, and wants linear memory, which never shrinks, to stop growing.
func TestMemoryIsBounded(t *testing.T) {
	vm := start(t, `{`+canaryConfig+`,`+tracingConfig+`,`+faultConfig+`,
		"ratelimit":{"maxKeys":1000,"limits":[{"name":"l","key":[{"header":"x-user"}],"requests":1000,"per":"1s"}]}}`)
	round := func(n, from int) {
		for i := from; i < from+n; i++ {
			demo := []string{"", "", "slow", "dead", "lost", "", "", ""}[i%8]
			properties := map[string]string{}
			if i%4 == 1 {
				properties[metadataPath+"config"] = fmt.Sprintf(`{"fault":{"rules":[{"name":"n%d","abort":{"percentage":1,"httpStatus":500}}]}}`, i)
			}
			s := vm.Request(wasmtest.H(fmt.Sprintf("x-user: u%d", i), "x-demo: "+demo), properties)
			if i%3 != 0 {
				vm.Advance(301 * time.Millisecond)
				s.Response(wasmtest.H("content-type: text/plain", "x-more: and more"))
			}
			s.End()
		}
	}
	const n = 4000
	round(n, 0)
	before := vm.MemorySize()
	round(n, n)
	if after := vm.MemorySize(); after > before+before/10 || after > 64<<20 {
		t.Errorf("memory grew from %d to %d KiB over %d exchanges", before>>10, after>>10, n)
	} else {
		t.Logf("%d KiB after %d exchanges, %d KiB after %d", before>>10, n, after>>10, 2*n)
	}
	vm.Advance(time.Second)
	if vm.Ticking() || vm.Streams() != 0 {
		t.Errorf("ticking %v, %d streams", vm.Ticking(), vm.Streams())
	}
	if got := vm.Metric("mizzen_fault_active"); got != 0 {
		t.Errorf("%d faults in progress", got)
	}
}
