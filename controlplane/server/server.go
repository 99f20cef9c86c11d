// Package server speaks xDS to Envoys: aggregated discovery, incremental and state-of-the-world. It gets a World, has each
// proxy's resources built from it, and sends what changed in an order that never leaves a route without its cluster.
package server

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// Options of a Server. Only Build is required.
type Options struct {
	// Build makes what a proxy is to have. It is called concurrently, for every proxy after every publication. With delta,
	// InlineRoutes is not looked at; without, Routes and VirtualHosts are not.
	Build func(w *mesh.World, n mesh.Node, delta bool) (*xdsgen.Resources, error)
	// Delta, if not nil, makes it for proxies of the incremental protocol instead of Build.
	Delta func(w *mesh.World, n mesh.Node) (*xdsgen.Sets, error)
	// Names, if not nil, makes the table of names of a proxy whose agent asks for it.
	Names func(w *mesh.World, n mesh.Node) *xdsgen.Resource
	// Admit, if not nil, may refuse a proxy by who calls: its node is what it says of itself. What it returns stands in that node's place.
	Admit func(ctx context.Context, n mesh.Node) (mesh.Node, error)
	// Log gets what happens; nil discards it.
	Log *slog.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Quiet and MaxQuiet gather publications: wait until none came for Quiet (0: 5 ms), at most MaxQuiet (0: 50 ms).
	Quiet, MaxQuiet time.Duration
	// AckTimeout is how long a proxy may take to acknowledge before the order no longer waits for it (0: 10 s).
	AckTimeout time.Duration
	// Linger is how long a cluster outlives the last acknowledged route that named it, for requests that were routed before
	// and are still on their way, in a fault's delay for instance (0: 2 s; negative: none).
	Linger time.Duration
	// Concurrency bounds how many proxies' resources are built at once (0: the number of CPUs).
	Concurrency int
	// Filters is what runs the policies in proxies that do not say (metadata MIZZEN_FILTERS); "" native. Wasm is the file of
	// mizzen.wasm for those of them that run it; "" mesh.DefaultWasm.
	Filters mesh.FilterHost
	Wasm    string
	// Calls, if not nil, draws who calls whom: as "json", or as "svg", which stands on the front page as it is. It may find nothing
	// to draw: then it returns nothing.
	Calls func(ctx context.Context, format string) ([]byte, error)
	// Version is shown in metric pilot_info and on the page; "" is "dev".
	Version string
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Quiet = orDefault(o.Quiet, 5*time.Millisecond)
	o.MaxQuiet = orDefault(o.MaxQuiet, 50*time.Millisecond)
	o.AckTimeout = orDefault(o.AckTimeout, 10*time.Second)
	o.Linger = orDefault(o.Linger, 2*time.Second)
	if o.Concurrency <= 0 {
		o.Concurrency = runtime.NumCPU()
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	return o
}

func orDefault(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return max(d, 0)
}

// Server is an aggregated discovery service and its monitoring pages. Safe for concurrent use.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	opt     Options
	metrics *metrics
	slots   chan struct{} // building
	done    chan struct{} // closed by Close

	mu         sync.Mutex
	gather     debounce
	timer      *time.Timer
	incoming   *mesh.World // published, not yet taken up
	world      *mesh.World
	generation uint64
	published  time.Time // when the world was taken up
	conns      map[uint64]*conn
	serial     uint64
	noModule   map[string]string // node id -> why its module, dynamic or wasm, could not be loaded
	reported   istio.Diagnostics
	closed     bool
}

// New makes a server that has nothing to say until the first Publish.
func New(o Options) *Server {
	o = o.withDefaults()
	return &Server{
		opt: o, metrics: newMetrics(o.Version), slots: make(chan struct{}, o.Concurrency), done: make(chan struct{}),
		gather: debounce{quiet: o.Quiet, max: o.MaxQuiet}, conns: map[uint64]*conn{}, noModule: map[string]string{},
	}
}

// Register adds the discovery service to a gRPC server, which must have the option Codec.
func (s *Server) Register(g *grpc.Server) { discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s) }

// Publish replaces the world. The first one is taken up at once, later ones after a short gathering time. It does not wait
// for any proxy. The world must not be changed any more.
func (s *Server) Publish(w *mesh.World) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || w == nil {
		return
	}
	s.metrics.inbound.WithLabelValues("config").Inc()
	s.incoming = w
	if s.world == nil {
		s.take()
		return
	}
	wait := s.gather.add(s.opt.Now())
	if s.timer == nil {
		s.timer = time.AfterFunc(wait, s.fire)
	}
}

// fire takes the incoming world up if it is time to, else waits on.
func (s *Server) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = nil
	if s.closed {
		return
	}
	first := s.gather.first
	now := s.opt.Now()
	fire, wait := s.gather.due(now)
	switch {
	case fire:
		s.metrics.debounce.Observe(now.Sub(first).Seconds())
		s.take()
	case wait > 0:
		s.timer = time.AfterFunc(wait, s.fire)
	}
}

// take makes the incoming world the current one and wakes every stream. mu is held.
func (s *Server) take() {
	s.world, s.incoming = s.incoming, nil
	s.generation++
	s.published = s.opt.Now()
	s.metrics.triggers.WithLabelValues("config").Inc()
	for _, c := range s.conns {
		c.poke()
	}
}

// Close ends every stream; the proxies keep what they have. The server cannot be used again.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	close(s.done)
	if s.timer != nil {
		s.timer.Stop()
	}
}

// Ready is nil once a world was published.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.world == nil {
		return errors.New("no configuration has been read yet")
	}
	return nil
}

// current gives the world to build from and its generation; nil before the first publication.
func (s *Server) current() (*mesh.World, uint64, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world, s.generation, s.published
}

// World is what was published last; nil: nothing.
func (s *Server) World() *mesh.World {
	w, _, _ := s.current()
	return w
}

// Nodes are the proxies that are connected, sorted by their ids.
func (s *Server) Nodes() []mesh.Node {
	var out []mesh.Node
	for _, c := range s.connections() {
		if !c.asksNames() {
			c.mu.Lock()
			out = append(out, c.node)
			c.mu.Unlock()
		}
	}
	return out
}

// connections lists the live streams, sorted by proxy, then by age.
func (s *Server) connections() []*conn {
	s.mu.Lock()
	out := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		out = append(out, c)
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *conn) int {
		if d := strings.Compare(a.id, b.id); d != 0 {
			return d
		}
		return int(a.serial) - int(b.serial)
	})
	return out
}

// Report replaces the diagnostics that reading the configuration gave, so that the pages show them beside the server's own.
func (s *Server) Report(ds istio.Diagnostics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reported = ds
}

// Diagnostics are those last reported and the complaints of the connected proxies, and of others: those of other replicas. Each is told
// once, and all are sorted.
func (s *Server) Diagnostics(others ...Complaint) istio.Diagnostics {
	s.mu.Lock()
	out := append(istio.Diagnostics{}, s.reported...)
	s.mu.Unlock()
	for _, d := range merge(append(s.Complaints(), others...)) {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	out.Sort()
	return out
}
