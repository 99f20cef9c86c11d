// Package serving runs the listeners of a server program until its context ends, and then drains them.
package serving

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

// drainTimeout bounds how long streams and requests in progress may take to end.
const drainTimeout = 3 * time.Second

// NewGRPC is a server for long-lived proxies, of which there may be thousands: the buffer that each holds is small, those for writing
// are shared.
func NewGRPC(more ...grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append([]grpc.ServerOption{
		grpc.ReadBufferSize(4 << 10), grpc.WriteBufferSize(32 << 10), grpc.SharedWriteBuffer(true),
		// A proxy whose machine vanished is noticed within a minute.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}, more...)...)
}

// GRPC serves on l until ctx ends; then it calls leave, and lets calls in progress end, for at most 3 s. It returns nil
// once drained, or why it could not serve; what names the listener there.
func GRPC(ctx context.Context, g *grpc.Server, l net.Listener, what string, leave func()) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		leave()
		force := time.AfterFunc(drainTimeout, g.Stop)
		defer force.Stop()
		g.GracefulStop()
	}()
	err := g.Serve(l)
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve %s: %w", what, err)
}

// HTTP serves monitoring pages on l until ctx ends, and lets requests in progress end, for at most 3 s. It returns nil
// once drained, or why it could not serve.
func HTTP(ctx context.Context, pages http.Handler, l net.Listener) error {
	h := &http.Server{Handler: pages, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		_ = h.Shutdown(end)
	}()
	err := h.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve monitoring: %w", err)
}
