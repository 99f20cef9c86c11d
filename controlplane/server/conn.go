package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// conn is one stream. Its session belongs to the goroutine that serves it; mu lets the pages look at it.
type conn struct {
	serial  uint64
	id      string // the node's; fixed
	since   time.Time
	version string // Envoy's
	wake    chan struct{}

	mu         sync.Mutex
	node       mesh.Node
	state      *session
	generation uint64    // of the world that state.want was built from
	started    time.Time // when that was published; zero once every part of it is acknowledged
	failure    string    // why building failed; "" if it did not
	said       mesh.Node // node with the module that it says it has
	noModule   string    // why that could not be loaded
	out        quarantine
	bare       bool // what was built last is for an agent that asks for names alone
}

// inbound is one request, of either protocol.
type inbound struct {
	node  *corev3.Node
	apply func(*session) event
}

// wire is one protocol's stream.
type wire interface {
	recv() (inbound, error)
	send(*response) (bytes int, err error)
}

// poke wakes the stream to build anew.
func (c *conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// serve runs a stream until it ends.
func (s *Server) serve(ctx context.Context, w wire, delta bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests, failed := receive(ctx, w)
	var c *conn
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var wake chan struct{}
		if c != nil {
			wake = c.wake
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return status.Error(codes.Unavailable, "the control plane is stopping")
		case err := <-failed:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case q := <-requests:
			if c == nil {
				var err error
				if c, err = s.connect(ctx, q.node, delta); err != nil {
					return err
				}
				defer s.disconnect(c)
			}
			s.handle(ctx, c, q)
			// What has already arrived is answered together.
			for range len(requests) {
				s.handle(ctx, c, <-requests)
			}
		case <-wake:
			s.rebuild(ctx, c)
		case <-timer.C:
		}
		if err := s.push(c, w); err != nil {
			return err
		}
		timer.Reset(c.idle(s.opt.Now()))
	}
}

// receive reads requests in a goroutine, which ends with the stream.
func receive(ctx context.Context, w wire) (<-chan inbound, <-chan error) {
	requests, failed := make(chan inbound, 16), make(chan error, 1)
	go func() {
		for {
			q, err := w.recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, failed
}

// connect makes the stream known. The first request of a stream names the node.
func (s *Server) connect(ctx context.Context, n *corev3.Node, delta bool) (*conn, error) {
	if n.GetId() == "" {
		return nil, status.Error(codes.InvalidArgument, "the first request of a stream must carry a node with an id")
	}
	c := &conn{
		id: n.GetId(), node: ParseNode(n), since: s.opt.Now(), version: envoyVersion(n), wake: make(chan struct{}, 1), out: newQuarantine(),
		state: newSession(delta, limits{ack: s.opt.AckTimeout, linger: s.opt.Linger}),
	}
	if !saysFilters(n) {
		c.node = c.node.RunsOn(s.opt.Filters, s.opt.Wasm)
	}
	if s.opt.Admit != nil {
		var err error
		if c.node, err = s.opt.Admit(ctx, c.node); err != nil {
			s.opt.Log.Warn("proxy refused", "proxy", c.id, "error", err)
			return nil, status.Error(codes.PermissionDenied, err.Error())
		}
	}
	c.said = c.node
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	c.serial = s.serial
	s.conns[c.serial] = c
	if why := s.noModule[c.id]; why != "" {
		c.node, c.noModule = c.node.RunsOn(mesh.HostNative, ""), why
	}
	s.metrics.proxies(s.conns)
	c.poke()
	s.opt.Log.Info("proxy connected", "proxy", c.id, "delta", delta, "envoy", c.version)
	return c, nil
}

func (s *Server) disconnect(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c.serial)
	s.metrics.proxies(s.conns)
	s.opt.Log.Info("proxy disconnected", "proxy", c.id)
}

func envoyVersion(n *corev3.Node) string {
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		return fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	return n.GetUserAgentVersion()
}

// handle applies one request.
func (s *Server) handle(ctx context.Context, c *conn, q inbound) {
	c.mu.Lock()
	e := q.apply(c.state)
	c.mu.Unlock()
	switch {
	case !e.known:
		s.opt.Log.Debug("proxy asks for a type that is not served", "proxy", c.id)
	case e.first && (e.kind == names || c.bare):
		s.rebuild(ctx, c)
	case e.fresh && e.kind == clusters:
		s.retryModule(ctx, c)
	case e.rejected:
		s.rejected(ctx, c, e)
	}
}

// rejected reports a rejection, and gives a proxy that cannot load its module, dynamic or wasm, the native form.
func (s *Server) rejected(ctx context.Context, c *conn, e event) {
	s.metrics.reject(e.kind)
	for _, r := range e.refused {
		s.opt.Log.Warn("proxy rejected a resource", "proxy", c.id, "type", e.kind.short(), "name", r.res.Name, "error", e.text)
	}
	c.mu.Lock()
	had := e.kind != extensions && moduleMissing(c.node.Host(), e.text)
	if had {
		c.node, c.noModule = c.node.RunsOn(mesh.HostNative, ""), e.text
	}
	c.mu.Unlock()
	if !had {
		s.without(ctx, c, e)
		return
	}
	s.mu.Lock()
	s.noModule[c.id] = e.text
	s.mu.Unlock()
	s.opt.Log.Warn("proxy cannot load its module: it gets the native form", "proxy", c.id, "error", e.text)
	s.rebuild(ctx, c)
}

// retryModule believes a newly started Envoy again that it can load what it says.
func (s *Server) retryModule(ctx context.Context, c *conn) {
	s.mu.Lock()
	why := s.noModule[c.id]
	delete(s.noModule, c.id)
	s.mu.Unlock()
	if why == "" {
		return
	}
	c.mu.Lock()
	c.node, c.noModule = c.said, ""
	c.mu.Unlock()
	s.rebuild(ctx, c)
}

// rebuild makes what the proxy is to have from the current world.
func (s *Server) rebuild(ctx context.Context, c *conn) {
	asked := s.opt.Now()
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	defer func() { <-s.slots }()
	s.metrics.queue.Observe(s.opt.Now().Sub(asked).Seconds())
	w, generation, published := s.current()
	if w == nil {
		return
	}
	c.mu.Lock()
	c.out.prune(w)
	node := c.node
	node.Without = c.out.keys()
	named := c.state.ch[names].open && s.opt.Names != nil
	c.bare = c.state.namesOnly()
	c.mu.Unlock()
	r, err := &xdsgen.Sets{}, error(nil)
	if !c.bare {
		r, err = s.build(w, node, c.state.delta)
	}
	if named && err == nil {
		all := *r // may be shared
		all.Names = xdsgen.Set{Own: xdsgen.NewList([]*xdsgen.Resource{s.opt.Names(w, node)})}
		r = &all
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation = generation
	if err != nil {
		c.failure = err.Error()
		s.metrics.internal.Inc()
		s.opt.Log.Error("building a proxy's configuration failed; it keeps what it has", "proxy", c.id, "error", err)
		return
	}
	c.failure, c.started = "", published
	c.state.setWant(r)
}

// build calls Options.Build and turns a panic into an error: one proxy's trouble must not take the others down.
func (s *Server) build(w *mesh.World, n mesh.Node, delta bool) (r *xdsgen.Sets, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("build resources: panic: %v", p)
		}
	}()
	if delta && s.opt.Delta != nil {
		return s.opt.Delta(w, n)
	}
	made, err := s.opt.Build(w, n, delta)
	if err != nil {
		return nil, err
	}
	return made.Sets(delta), nil
}

// push sends what may be sent now. Only this stream waits if its proxy reads slowly.
func (s *Server) push(c *conn, w wire) error {
	c.mu.Lock()
	out := c.state.next(s.opt.Now())
	c.mu.Unlock()
	for _, r := range out {
		begin := s.opt.Now()
		n, err := w.send(r)
		if err != nil {
			return fmt.Errorf("send %s to %s: %w", r.kind.short(), c.id, err)
		}
		s.metrics.pushed(r.kind, n, s.opt.Now().Sub(begin))
		s.opt.Log.Debug("pushed", "proxy", c.id, "type", r.kind.short(), "resources", len(r.body), "removed", len(r.gone), "bytes", n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started.IsZero() && c.state.quiet() && c.state.acknowledged() {
		s.metrics.convergence.Observe(s.opt.Now().Sub(c.started).Seconds())
		c.started = time.Time{}
	}
	return nil
}

// shortest keeps a deadline that cannot be met yet from spinning.
const shortest = 20 * time.Millisecond

// idle is how long the stream may sleep if nothing happens.
func (c *conn) idle(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.state.deadline()
	if !ok {
		return time.Hour
	}
	return max(at.Sub(now), shortest)
}
