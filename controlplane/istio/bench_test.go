package istio

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkDecode reads a file of a thousand VirtualServices.
func BenchmarkDecode(b *testing.B) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: vs-%d, namespace: n}
spec:
  hosts: [svc-%d]
  http:
  - match: [{uri: {prefix: /api}, headers: {end-user: {exact: jason}}}]
    timeout: 5s
    route:
    - {destination: {host: svc-%d, subset: v1}, weight: 90}
    - {destination: {host: svc-%d, subset: v2}, weight: 10}
  - route: [{destination: {host: svc-%d}}]
`, i, i, i, i, i)
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		set, diags := Decode("f", strings.NewReader(text.String()))
		if len(set.VirtualServices) != 1000 || len(diags) != 0 {
			b.Fatal(len(set.VirtualServices), diags)
		}
	}
}
