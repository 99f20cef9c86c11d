package scenarios

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

const greeterRules = `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter}
spec:
  host: greeter
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter}
spec:
  hosts: [greeter, greeter.example.com]
  gateways: [mesh, bookshop]
  http:
  - match: [{headers: {x-canary: {exact: "yes"}}}]
    route: [{destination: {host: greeter, subset: v2}}]
  - match: [{uri: {prefix: /example.Greeter/Broken}}]
    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}
    route: [{destination: {host: greeter}}]
  - match: [{uri: {exact: /example.Greeter/Slow}}]
    timeout: 300ms
    route: [{destination: {host: greeter}}]
  - route:
    - {destination: {host: greeter, subset: v1}, weight: 75}
    - {destination: {host: greeter, subset: v2}, weight: 25}
`

// Row 22, gRPC with rules on it: calls and streams go by header and by weight, faults and timeouts arrive as gRPC's own statuses, at the
// gateway and from a sidecar.
func TestGRPCRules(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, greeterRules)
	for _, way := range []struct {
		name      string
		to        dial
		authority string
	}{
		{"gateway", toGateway(m), "greeter.example.com"},
		{"sidecar", toGreeter(t, m), "greeter:80"},
	} {
		t.Run(way.name, func(t *testing.T) {
			g := greeter{dialGRPC(t, way.to, way.authority)}
			meshtest.Eventually(t, "the rules", func() bool { _, err := g.call(t, "Broken"); return status.Code(err) == codes.ResourceExhausted })
			for range 20 {
				if v, err := g.call(t, "Hello", "x-canary", "yes"); err != nil || v != "v2" {
					t.Fatalf("the canary's header leads to %q (%v)", v, err)
				}
			}
			const n = 400
			counts := map[string]int{}
			for range n {
				v, err := g.call(t, "Hello")
				if err != nil {
					t.Fatal(err)
				}
				counts[v]++
			}
			wantShare(t, "calls to v2", counts["v2"], n, 0.25)
			if _, err := g.call(t, "Slow", "slow", "5"); status.Code(err) != codes.Unavailable && status.Code(err) != codes.DeadlineExceeded {
				t.Errorf("a call beyond its timeout ended with %v", err)
			}
			if v, err := g.stream(t, 5, "x-canary", "yes"); err != nil || v != "v2" {
				t.Errorf("the stream of the canary's header leads to %q (%v)", v, err)
			}
		})
	}
}

// greeter is a client of the application that sends every message back.
type greeter struct{ conn *grpc.ClientConn }

func outgoing(t *testing.T, pairs []string) (context.Context, context.CancelFunc) {
	return context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), pairs...), 20*time.Second)
}

// call makes a unary call; the version that answered it.
func (g greeter) call(t *testing.T, method string, pairs ...string) (string, error) {
	ctx, cancel := outgoing(t, pairs)
	defer cancel()
	var header metadata.MD
	back := new(healthv1.HealthCheckRequest)
	err := g.conn.Invoke(ctx, "/example.Greeter/"+method, &healthv1.HealthCheckRequest{Service: "hi"}, back, grpc.Header(&header))
	if err == nil && back.Service != "hi" {
		t.Errorf("sent hi, got %q", back.Service)
	}
	return strings.Join(header.Get("version"), ","), err
}

// stream sends n messages, each once the one before has come back.
func (g greeter) stream(t *testing.T, n int, pairs ...string) (string, error) {
	ctx, cancel := outgoing(t, pairs)
	defer cancel()
	s, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/example.Greeter/Chat")
	if err != nil {
		return "", err
	}
	for range n {
		if err := s.SendMsg(&healthv1.HealthCheckRequest{Service: "hi"}); err != nil {
			return "", err
		}
		if err := s.RecvMsg(new(healthv1.HealthCheckRequest)); err != nil {
			return "", err
		}
	}
	header, err := s.Header()
	return strings.Join(header.Get("version"), ","), err
}
