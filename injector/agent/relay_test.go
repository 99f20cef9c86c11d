package agent

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

const clusters = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

// controlPlane answers each request for all with a and b, and each rejection with nothing.
type controlPlane struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	asked chan *discoveryv3.DeltaDiscoveryRequest
}

func (c *controlPlane) DeltaAggregatedResources(s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	for {
		q, err := s.Recv()
		if err != nil {
			return nil
		}
		c.asked <- q
		switch {
		case q.GetResponseNonce() == "": // the first
			err = s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusters, Nonce: "1", Resources: []*discoveryv3.Resource{{Name: "a", Version: "1"}, {Name: "b", Version: "1"}}})
		case q.GetResponseNonce() == "1": // a removed, and one that Envoy will not take
			err = s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusters, Nonce: "2", RemovedResources: []string{"a"}})
			if err == nil {
				err = s.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusters, Nonce: "3", Resources: []*discoveryv3.Resource{{Name: "bad", Version: "1"}}})
			}
		}
		if err != nil {
			return err
		}
	}
}

// memory is a gRPC server that is reached without a network.
func memory(t *testing.T, register func(*grpc.Server)) (client discoveryv3.AggregatedDiscoveryServiceClient, stop func()) {
	t.Helper()
	l, g := bufconn.Listen(1<<20), grpc.NewServer()
	register(g)
	go func() { _ = g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(reconnect()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop(); _ = conn.Close() })
	return discoveryv3.NewAggregatedDiscoveryServiceClient(conn), g.Stop
}

// envoy is one stream of an Envoy to a relay.
type envoy struct {
	t *testing.T
	s discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func newEnvoy(t *testing.T, r *relay) envoy {
	t.Helper()
	client, _ := memory(t, func(g *grpc.Server) { discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, r) })
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	s, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return envoy{t, s}
}

func (e envoy) say(q *discoveryv3.DeltaDiscoveryRequest) {
	e.t.Helper()
	q.TypeUrl = clusters
	if err := e.s.Send(q); err != nil {
		e.t.Fatal(err)
	}
}

// hear returns the names in the next answer, those that are gone with a minus, and its nonce.
func (e envoy) hear() (names []string, nonce string) {
	e.t.Helper()
	m, err := e.s.Recv()
	if err != nil {
		e.t.Fatal(err)
	}
	for _, r := range m.GetResources() {
		names = append(names, r.GetName())
	}
	for _, n := range m.GetRemovedResources() {
		names = append(names, "-"+n)
	}
	return names, m.GetNonce()
}

// TestRelay: what Envoy accepted serves the next Envoy, of this container or of a later one, while the control plane is away.
func TestRelay(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	control := &controlPlane{asked: make(chan *discoveryv3.DeltaDiscoveryRequest, 100)}
	client, stop := memory(t, func(g *grpc.Server) { discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, control) })
	same := func(ctx context.Context) context.Context { return ctx }
	r := &relay{control: client, with: same, store: openStore(dir, log), log: log}

	first := newEnvoy(t, r)
	first.say(&discoveryv3.DeltaDiscoveryRequest{})
	for range 3 {
		_, nonce := first.hear()
		ack := &discoveryv3.DeltaDiscoveryRequest{ResponseNonce: nonce}
		if nonce == "3" {
			ack.ErrorDetail = &status.Status{Message: "no"}
		}
		first.say(ack)
	}
	for range 4 { // so that the relay has seen the last one
		<-control.asked
	}
	r.store.write()
	stop()
	if _, err := first.s.Recv(); err == nil {
		t.Error("the stream goes on without a control plane")
	}
	for name, store := range map[string]*store{"this container": r.store, "a later one": openStore(dir, log)} {
		r := &relay{control: client, with: same, store: store, log: log}
		fresh := newEnvoy(t, r)
		fresh.say(&discoveryv3.DeltaDiscoveryRequest{})
		if got, _ := fresh.hear(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%s: an Envoy that has nothing gets %v, want b", name, got)
		}
		other := newEnvoy(t, r)
		other.say(&discoveryv3.DeltaDiscoveryRequest{InitialResourceVersions: map[string]string{"a": "1", "b": "1"}})
		if got, _ := other.hear(); !slices.Equal(got, []string{"-a"}) {
			t.Errorf("%s: an Envoy that has a and b gets %v, want -a", name, got)
		}
		other.say(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{"b", "unknown"}})
		if got, _ := other.hear(); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%s: asked for b it gets %v", name, got)
		}
	}
}

// TestBack: an Envoy that was given what is kept comes again when the control plane is back, and one that never had anything waits for it.
func TestBack(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	l := bufconn.Listen(1 << 20)
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithConnectParams(reconnect()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond) // nobody accepts yet
			defer cancel()
			return l.DialContext(ctx)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := &relay{
		control: discoveryv3.NewAggregatedDiscoveryServiceClient(conn), with: func(ctx context.Context) context.Context { return ctx },
		store: openStore(t.TempDir(), log), log: log,
	}
	nothing := newEnvoy(t, r)
	if _, err := nothing.s.Recv(); err == nil {
		t.Error("without a control plane and without anything kept there is an answer")
	}
	r.store.accepted(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: clusters, Resources: []*discoveryv3.Resource{{Name: "kept", Version: "1"}}}, false)
	e := newEnvoy(t, r)
	e.say(&discoveryv3.DeltaDiscoveryRequest{})
	if got, _ := e.hear(); !slices.Equal(got, []string{"kept"}) {
		t.Fatalf("got %v", got)
	}
	control, g := &controlPlane{asked: make(chan *discoveryv3.DeltaDiscoveryRequest, 100)}, grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, control)
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	if _, err := e.s.Recv(); err == nil {
		t.Error("the stream with what was kept goes on")
	}
	e = newEnvoy(t, r)
	e.say(&discoveryv3.DeltaDiscoveryRequest{InitialResourceVersions: map[string]string{"kept": "1"}})
	if got, _ := e.hear(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v, want the control plane's", got)
	}
}
