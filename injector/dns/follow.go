package dns

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/mizzen-mesh/mizzen/controlplane/nds"
)

// Pauses between attempts to reach the control plane.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 5 * time.Second
)

// Follow asks the control plane for the names that a proxy may know, and hands on each table, until ctx is done. While the control
// plane is away, the last one stands. Node is the proxy's, and may hold credentials that opts send. log is not nil.
func Follow(ctx context.Context, conn grpc.ClientConnInterface, node *corev3.Node, set func(nds.Table), log *slog.Logger, opts ...grpc.CallOption) {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		began := time.Now()
		err := follow(ctx, conn, node, set, opts)
		if ctx.Err() != nil {
			return
		}
		log.Debug("the names of the mesh are as they were: the control plane is away", "error", err)
		if time.Since(began) > retryMax {
			wait = retryFirst
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// follow is one stream.
func follow(ctx context.Context, conn grpc.ClientConnInterface, node *corev3.Node, set func(nds.Table), opts []grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx, opts...)
	if err != nil {
		return fmt.Errorf("ask for names: %w", err)
	}
	q := &discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: nds.TypeURL}
	for {
		if err := stream.Send(q); err != nil {
			return fmt.Errorf("ask for names: %w", err)
		}
		answer, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("wait for names: %w", err)
		}
		for _, r := range answer.GetResources() {
			t, err := nds.Decode(r.GetResource().GetValue())
			if err != nil {
				return err
			}
			set(t)
		}
		q = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: nds.TypeURL, ResponseNonce: answer.GetNonce()}
	}
}
