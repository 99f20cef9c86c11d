package standin

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// newGRPC serves grpc.health.v1 and, under any other service and method, an echo of each message.
func (a *App) newGRPC() *grpc.Server {
	s := grpc.NewServer(grpc.UnknownServiceHandler(a.echoMessages))
	healthv1.RegisterHealthServer(s, health.NewServer())
	return s
}

// echoMessages works for every message type: Empty keeps what it does not know, and sends it back.
func (a *App) echoMessages(_ any, stream grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if err := a.misbehave(stream.Context(), md); err != nil {
		return err
	}
	if err := stream.SetHeader(metadata.Pairs("service", a.opts.Service, "version", a.opts.Version, "instance", a.opts.Instance)); err != nil {
		return err
	}
	for {
		m := new(emptypb.Empty)
		if err := stream.RecvMsg(m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

// misbehave does what the metadata `slow` and `fail` ask for, as the HTTP headers of that name do.
func (a *App) misbehave(ctx context.Context, md metadata.MD) error {
	wait, err := duration(first(md, "slow"))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	p, err := probability(first(md, "fail"))
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if p > 0 && a.opts.Random() < p {
		return status.Error(codes.Internal, a.who()+": failed as asked")
	}
	return nil
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}
