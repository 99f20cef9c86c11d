package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// relay carries Envoy's configuration: it passes on what the control plane and Envoy say to each other, and notes what Envoy accepts. While
// the control plane is away, an Envoy that comes gets what was accepted last.
type relay struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	control discoveryv3.AggregatedDiscoveryServiceClient
	with    func(context.Context) context.Context // adds credentials to a call
	store   *store
	log     *slog.Logger
	// rejected is set after a stream that the control plane ended without a word: the next Envoy is not sent there.
	rejected atomic.Bool
	// passing is whether the control plane is heard now. For metrics.
	passing atomic.Bool
}

// Pauses between attempts to reach the control plane.
const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 2 * time.Second
	// openWithin is what the control plane has to take a stream; then it counts as away.
	openWithin = 3 * time.Second
)

func reconnect() grpc.ConnectParams {
	return grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: retryFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: retryMax},
		MinConnectTimeout: openWithin,
	}
}

type (
	envoyStream   = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	controlStream = discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
)

// DeltaAggregatedResources serves Envoy's one stream.
func (r *relay) DeltaAggregatedResources(envoy envoyStream) error {
	said := receive(envoy.Context(), envoy.Recv)
	ctx, cancel := context.WithCancel(envoy.Context())
	defer cancel()
	if !r.rejected.Load() || r.store.empty() {
		control, err := r.open(ctx)
		if err == nil {
			return r.pass(envoy, control, said)
		}
		if envoy.Context().Err() != nil {
			return err
		}
		r.log.Warn("the control plane is away", "error", err)
		if r.store.empty() {
			return err // Envoy tries again
		}
	}
	return r.serve(ctx, envoy, said)
}

// open begins a stream to the control plane.
func (r *relay) open(ctx context.Context) (controlStream, error) {
	timely, cancel := context.WithCancel(ctx)
	late := time.AfterFunc(openWithin, cancel)
	s, err := r.control.DeltaAggregatedResources(r.with(timely))
	if err == nil && !late.Stop() {
		err = status.Error(codes.DeadlineExceeded, "it does not answer")
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open stream to control plane: %w", err)
	}
	context.AfterFunc(ctx, cancel)
	return s, nil
}

// heard is one message, or why there are no more.
type heard[T any] struct {
	message T
	err     error
}

// receive reads messages into a channel until ctx is done or there are no more.
func receive[T any](ctx context.Context, next func() (T, error)) <-chan heard[T] {
	out := make(chan heard[T])
	go func() {
		for {
			m, err := next()
			select {
			case out <- heard[T]{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// pass lets the two speak with each other.
func (r *relay) pass(envoy envoyStream, control controlStream, said <-chan heard[*discoveryv3.DeltaDiscoveryRequest]) error {
	answers := receive(envoy.Context(), control.Recv)
	n := notes{store: r.store, waiting: map[string]*discoveryv3.DeltaDiscoveryResponse{}, anew: map[string]bool{}, seen: map[string]bool{}}
	answered := false
	defer r.passing.Store(false)
	for {
		select {
		case h := <-said:
			if h.err != nil {
				return ended(h.err)
			}
			n.request(h.message)
			if err := control.Send(h.message); err != nil && !errors.Is(err, io.EOF) { // io.EOF: Recv has the reason
				return fmt.Errorf("send to control plane: %w", err)
			}
		case h := <-answers:
			if h.err != nil {
				r.rejected.Store(!answered)
				r.log.Warn("the control plane has gone", "error", h.err)
				return status.Error(codes.Unavailable, "the control plane has gone")
			}
			answered = true
			r.rejected.Store(false)
			r.passing.Store(true)
			n.answer(h.message)
			if err := envoy.Send(h.message); err != nil {
				return fmt.Errorf("send to Envoy: %w", err)
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// notes keeps the store up to date from what is said on one stream.
type notes struct {
	store   *store
	waiting map[string]*discoveryv3.DeltaDiscoveryResponse // by nonce, until Envoy accepts
	anew    map[string]bool                                // types of which this Envoy had nothing: what the store has is another's
	seen    map[string]bool                                // types that Envoy has asked for
}

func (n *notes) request(q *discoveryv3.DeltaDiscoveryRequest) {
	t := q.GetTypeUrl()
	if !n.seen[t] {
		n.seen[t] = true
		n.anew[t] = len(q.GetInitialResourceVersions()) == 0
	}
	if len(q.GetResourceNamesUnsubscribe()) > 0 && !n.anew[t] {
		n.store.forget(t, q.GetResourceNamesUnsubscribe())
	}
	if m := n.waiting[q.GetResponseNonce()]; m != nil {
		delete(n.waiting, q.GetResponseNonce())
		if q.GetErrorDetail() == nil {
			n.store.accepted(m, n.anew[t])
			n.anew[t] = false
		}
	}
}

func (n *notes) answer(m *discoveryv3.DeltaDiscoveryResponse) { n.waiting[m.GetNonce()] = m }

// serve gives Envoy what was accepted last, until the control plane is back; then Envoy is to come again, and says what it has.
func (r *relay) serve(ctx context.Context, envoy envoyStream, said <-chan heard[*discoveryv3.DeltaDiscoveryRequest]) error {
	r.log.Warn("serving the last configuration that Envoy accepted")
	back := make(chan struct{})
	go func() {
		defer close(back)
		r.await(ctx)
	}()
	asked, nonce := map[string]bool{}, 0
	for {
		select {
		case <-back:
			r.rejected.Store(false)
			return status.Error(codes.Unavailable, "the control plane is back")
		case h := <-said:
			if h.err != nil {
				return ended(h.err)
			}
			q := h.message
			first := !asked[q.GetTypeUrl()]
			asked[q.GetTypeUrl()] = true
			nonce++
			if m := r.stored(q, first, nonce); m != nil {
				if err := envoy.Send(m); err != nil {
					return fmt.Errorf("send to Envoy: %w", err)
				}
			}
		}
	}
}

// stored is the answer to a request from the store; nil: none is due.
func (r *relay) stored(q *discoveryv3.DeltaDiscoveryRequest, first bool, nonce int) *discoveryv3.DeltaDiscoveryResponse {
	names := q.GetResourceNamesSubscribe()
	all := first && len(names) == 0
	for _, name := range names {
		all = all || name == "*"
	}
	found, gone := r.store.find(q.GetTypeUrl(), all, names, q.GetInitialResourceVersions())
	if len(found)+len(gone) == 0 && !(all && len(q.GetInitialResourceVersions()) == 0) {
		return nil
	}
	return &discoveryv3.DeltaDiscoveryResponse{
		TypeUrl: q.GetTypeUrl(), Resources: found, RemovedResources: gone, SystemVersionInfo: "kept", Nonce: fmt.Sprintf("kept-%d", nonce),
	}
}

// await returns when the control plane takes a stream, or ctx is done.
func (r *relay) await(ctx context.Context) {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		try, cancel := context.WithCancel(ctx)
		_, err := r.open(try)
		cancel()
		if err == nil {
			return
		}
	}
}
