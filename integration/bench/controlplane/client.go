package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Type URLs that an Envoy follows.
const (
	typeCluster  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	typeEndpoint = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	typeListener = "type.googleapis.com/envoy.config.listener.v3.Listener"
	typeRoute    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	typeHost     = "type.googleapis.com/envoy.config.route.v3.VirtualHost"
)

const method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

// fleet is the simulated proxies: they ask and acknowledge as Envoy does, and read of each answer no more than that needs, so
// that they leave the machine to the server.
type fleet struct {
	services int // virtual hosts that make a configuration complete

	complete atomic.Int64 // proxies with a whole configuration
	bytes    atomic.Int64

	mu    sync.Mutex
	watch string // resource name to wait for
	from  time.Time
	seen  []time.Duration
	done  chan struct{} // closed when want have seen it
	want  int

	tables sync.Map // listener version -> []string, decoded once for all
}

// proxy is one of the fleet.
type proxy struct {
	f      *fleet
	node   *corev3.Node
	stream grpc.ClientStream
	hosts  int
	eps    int
	whole  bool
	asked  map[string]bool
}

// raw passes messages through undecoded.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// run connects one proxy and serves it until ctx ends.
func (f *fleet) run(ctx context.Context, address string, i int) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(1<<30)))
	if err != nil {
		return err
	}
	defer conn.Close()
	st, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	p := &proxy{f: f, node: node(i), stream: st, asked: map[string]bool{}}
	for _, t := range []string{typeCluster, typeListener} {
		if err := p.ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: t, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			return err
		}
	}
	for {
		var b []byte
		if err := st.RecvMsg(&b); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("proxy %d: %w", i, err)
		}
		if err := p.take(b); err != nil {
			return fmt.Errorf("proxy %d: %w", i, err)
		}
	}
}

func node(i int) *corev3.Node {
	ns := namespaceOf(i)
	meta, err := structpb.NewStruct(map[string]any{
		"NAMESPACE": ns, "NAME": fmt.Sprintf("app%d", i), "LABELS": map[string]any{"app": fmt.Sprintf("app%d", i)},
		"MIZZEN_FILTERS": "dynamic-module",
	})
	if err != nil {
		panic(err)
	}
	return &corev3.Node{Id: fmt.Sprintf("sidecar~10.200.%d.%d~app%d.%s~%s.svc.cluster.local", i/250, i%250, i, ns, ns), Metadata: meta}
}

// ask sends a request; the first carries the node.
func (p *proxy) ask(q *discoveryv3.DeltaDiscoveryRequest) error {
	q.Node, p.node = p.node, nil
	return p.stream.SendMsg(q)
}

// resource is what is read of one: its name and version, and of a listener its content.
type resource struct {
	name, version string
	body          []byte
}

// answer is what is read of a response.
type answer struct {
	kind, nonce string
	set         []resource
}

// take reads one response, follows what it names, and acknowledges it.
func (p *proxy) take(b []byte) error {
	p.f.bytes.Add(int64(len(b)))
	a, err := parse(b)
	if err != nil {
		return err
	}
	var follow *discoveryv3.DeltaDiscoveryRequest
	switch a.kind {
	case typeCluster:
		follow = p.followClusters(a.set)
	case typeListener:
		follow = p.followListeners(a.set)
	case typeRoute:
		if !p.asked["vhds"] {
			p.asked["vhds"] = true
			follow = &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeHost}
		}
	case typeHost:
		p.hosts += len(a.set)
	case typeEndpoint:
		p.eps += len(a.set)
	}
	if err := p.ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: a.kind, ResponseNonce: a.nonce}); err != nil {
		return err
	}
	if follow != nil {
		if err := p.ask(follow); err != nil {
			return err
		}
	}
	if !p.whole && p.hosts >= p.f.services && p.eps >= p.f.services {
		p.whole = true
		p.f.complete.Add(1)
	}
	for _, r := range a.set {
		p.f.saw(r.name)
	}
	return nil
}

// followClusters asks for the endpoints of new clusters.
func (p *proxy) followClusters(set []resource) *discoveryv3.DeltaDiscoveryRequest {
	q := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeEndpoint}
	for _, r := range set {
		if len(r.name) > 9 && r.name[:9] == "outbound|" && !p.asked[r.name] {
			p.asked[r.name] = true
			q.ResourceNamesSubscribe = append(q.ResourceNamesSubscribe, r.name)
		}
	}
	if q.ResourceNamesSubscribe == nil {
		return nil
	}
	return q
}

// followListeners asks for the route tables that new listeners name.
func (p *proxy) followListeners(set []resource) *discoveryv3.DeltaDiscoveryRequest {
	q := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeRoute}
	for _, r := range set {
		names, ok := p.f.tables.Load(r.version)
		if !ok {
			names = tablesOf(r.body)
			p.f.tables.Store(r.version, names)
		}
		for _, n := range names.([]string) {
			if !p.asked["rds "+n] {
				p.asked["rds "+n] = true
				q.ResourceNamesSubscribe = append(q.ResourceNamesSubscribe, n)
			}
		}
	}
	if q.ResourceNamesSubscribe == nil {
		return nil
	}
	return q
}

// tablesOf are the route tables that a listener names.
func tablesOf(body []byte) []string {
	var a anypb.Any
	var l listenerv3.Listener
	if proto.Unmarshal(body, &a) != nil || a.UnmarshalTo(&l) != nil {
		return nil
	}
	var out []string
	for _, c := range append(l.GetFilterChains(), l.GetDefaultFilterChain()) {
		for _, f := range c.GetFilters() {
			var m hcmv3.HttpConnectionManager
			if f.GetTypedConfig().UnmarshalTo(&m) == nil && m.GetRds() != nil {
				out = append(out, m.GetRds().GetRouteConfigName())
			}
		}
	}
	return out
}

// parse reads a DeltaDiscoveryResponse without decoding its resources.
func parse(b []byte) (answer, error) {
	var a answer
	err := fields(b, func(n protowire.Number, v []byte) {
		switch n {
		case 2:
			var r resource
			_ = fields(v, func(n protowire.Number, v []byte) {
				switch n {
				case 1:
					r.version = string(v)
				case 2:
					r.body = v
				case 3:
					r.name = string(v)
				}
			})
			a.set = append(a.set, r)
		case 4:
			a.kind = string(v)
		case 5:
			a.nonce = string(v)
		}
	})
	return a, err
}

// fields visits the length-delimited fields of a message.
func fields(b []byte, visit func(protowire.Number, []byte)) error {
	for len(b) > 0 {
		n, t, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errors.New("bad message")
		}
		b = b[size:]
		if t == protowire.BytesType {
			v, size := protowire.ConsumeBytes(b)
			if size < 0 {
				return errors.New("bad message")
			}
			visit(n, v)
			b = b[size:]
			continue
		}
		size = protowire.ConsumeFieldValue(n, t, b)
		if size < 0 {
			return errors.New("bad message")
		}
		b = b[size:]
	}
	return nil
}

// await has saw wait for a resource from now on, by want proxies.
func (f *fleet) await(name string, want int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch, f.from, f.seen, f.want, f.done = name, time.Now(), nil, want, make(chan struct{})
	return f.done
}

func (f *fleet) saw(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.watch == "" || name != f.watch {
		return
	}
	f.seen = append(f.seen, time.Since(f.from))
	if len(f.seen) == f.want {
		f.watch = ""
		close(f.done)
	}
}
