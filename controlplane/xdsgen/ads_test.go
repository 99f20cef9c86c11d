package xdsgen

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// fakeADS is as much of a delta ADS server as it takes to ask Envoy a question: it answers the first request of a type
// with everything of that type, unless the type is held, and pushes what the test says.
type fakeADS struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	addr string

	mu     sync.Mutex
	first  map[string][]*Resource
	held   map[string]bool
	asked  map[string]int // requests by type, acknowledgements left out
	acks   map[string]int
	nacks  []string
	nonce  int
	stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func newFakeADS(t *testing.T, res *Resources) *fakeADS {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeADS{
		addr: l.Addr().String(), held: map[string]bool{}, asked: map[string]int{}, acks: map[string]int{},
		first: map[string][]*Resource{
			TypeCluster: res.Clusters, TypeEndpoint: res.Endpoints, TypeListener: res.Listeners,
			TypeRoute: res.Routes, TypeVirtualHost: res.VirtualHosts,
		},
	}
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, f)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return f
}

// DeltaAggregatedResources implements the service.
func (f *fakeADS) DeltaAggregatedResources(st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	f.mu.Lock()
	f.stream = st
	f.mu.Unlock()
	for {
		q, err := st.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		f.receive(q)
	}
}

func (f *fakeADS) receive(q *discoveryv3.DeltaDiscoveryRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.ResponseNonce != "" {
		if q.ErrorDetail != nil {
			f.nacks = append(f.nacks, q.ErrorDetail.Message)
		}
		f.acks[q.TypeUrl]++
		return
	}
	f.asked[q.TypeUrl]++
	if !f.held[q.TypeUrl] {
		f.sendLocked(q.TypeUrl, f.first[q.TypeUrl], nil)
	}
}

func (f *fakeADS) send(typeURL string, set []*Resource, gone ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sendLocked(typeURL, set, gone)
}

func (f *fakeADS) sendLocked(typeURL string, set []*Resource, gone []string) {
	f.nonce++
	out := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURL, Nonce: strconv.Itoa(f.nonce), RemovedResources: gone}
	for _, r := range set {
		out.Resources = append(out.Resources, &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: r.Body})
	}
	_ = f.stream.Send(out)
}

func (f *fakeADS) requests(typeURL string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[typeURL]
}

// answered counts the responses of a type that Envoy has taken or refused.
func (f *fakeADS) answered(typeURL string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acks[typeURL]
}

func (f *fakeADS) refusals() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.nacks...)
}

// bootConfig is the bootstrap of an Envoy that asks f.
func bootConfig(t *testing.T, f *fakeADS, id string) string {
	t.Helper()
	raw, err := bootstrap.Config(bootstrap.Options{NodeID: id, XDSAddress: f.addr})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func startWith(t *testing.T, f *fakeADS, id string) *envoytest.Envoy {
	t.Helper()
	return envoytest.Start(t, envoytest.Options{Config: bootConfig(t, f, id), Module: "-"})
}
