package server

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// DeltaAggregatedResources serves the incremental protocol.
func (s *Server) DeltaAggregatedResources(st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.serve(st.Context(), deltaWire{st}, true)
}

// StreamAggregatedResources serves the state-of-the-world protocol.
func (s *Server) StreamAggregatedResources(st discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.serve(st.Context(), stateWire{st}, false)
}

type deltaWire struct {
	st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
}

func (w deltaWire) recv() (inbound, error) {
	q, err := w.st.Recv()
	if err != nil {
		return inbound{}, err
	}
	return inbound{q.GetNode(), func(s *session) event { return s.onDelta(q) }}, nil
}

func (w deltaWire) send(r *response) (int, error) {
	p := deltaPacket(r)
	return p.Len(), w.st.SendMsg(p)
}

type stateWire struct {
	st discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

func (w stateWire) recv() (inbound, error) {
	q, err := w.st.Recv()
	if err != nil {
		return inbound{}, err
	}
	return inbound{q.GetNode(), func(s *session) event { return s.onState(q) }}, nil
}

func (w stateWire) send(r *response) (int, error) {
	out := &discoveryv3.DiscoveryResponse{
		TypeUrl: r.kind.url(), Nonce: r.nonce, VersionInfo: r.version, Resources: make([]*anypb.Any, len(r.body)),
	}
	for i, x := range r.body {
		out.Resources[i] = x.Body
	}
	return proto.Size(out), w.st.Send(out)
}
