package server

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	// registers the codec for what is no packet
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// packet is a message that is marshalled already: pieces that many messages share.
type packet struct{ mem.BufferSlice }

// deltaPacket puts a response together from its resources' frames.
func deltaPacket(r *response) packet {
	// Fields may come in any order.
	head, err := proto.Marshal(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: r.kind.url(), Nonce: r.nonce, RemovedResources: r.gone})
	if err != nil { // names that came in by valid messages or were made here
		panic(err)
	}
	p := packet{mem.BufferSlice{mem.SliceBuffer(head)}}
	if len(r.body) == r.from.Len() {
		for frames := range r.from.Frames() {
			p.BufferSlice = append(p.BufferSlice, mem.SliceBuffer(frames))
		}
		return p
	}
	for _, x := range r.body {
		p.BufferSlice = append(p.BufferSlice, mem.SliceBuffer(x.Frame()))
	}
	return p
}

// codec lets packets through and leaves everything else to gRPC's own codec.
type codec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if p, ok := v.(packet); ok {
		return p.BufferSlice, nil
	}
	return c.CodecV2.Marshal(v)
}

// Codec is the option that a gRPC server needs for Register.
func Codec() grpc.ServerOption { return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")}) }
