// Package run is the control plane put together: files are read and watched, compiled, and served to proxies.
package run

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Options of Run.
type Options struct {
	// Paths of files and directories, read and watched. On the same object a later path wins.
	Paths []string
	// XDSAddr and HTTPAddr are where to listen: discovery in plaintext, and the monitoring pages.
	XDSAddr, HTTPAddr string
	Log               *slog.Logger // not nil
	Version           string
	// Listening, if not nil, is told the addresses that were bound.
	Listening func(xds, http net.Addr)
}

// Run serves until ctx is done, then drains.
func Run(ctx context.Context, o Options) error {
	xds, err := net.Listen("tcp", o.XDSAddr)
	if err != nil {
		return fmt.Errorf("listen for xDS: %w", err)
	}
	pages, err := net.Listen("tcp", o.HTTPAddr)
	if err != nil {
		_ = xds.Close()
		return fmt.Errorf("listen for monitoring: %w", err)
	}
	s := server.New(server.Options{Build: Builder(), Log: o.Log, Version: o.Version})
	if o.Listening != nil {
		o.Listening(xds.Addr(), pages.Addr())
	}
	o.Log.Info("control plane is up", "xds", xds.Addr().String(), "http", pages.Addr().String())
	p := &publisher{server: s, log: o.Log, told: map[istio.Diagnostic]bool{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return dir.Watch(ctx, o.Paths, o.Log, p.publish) })
	g.Go(func() error { return serveXDS(ctx, s, xds) })
	g.Go(func() error { return serving.HTTP(ctx, s.Handler(), pages) })
	return g.Wait()
}

// Builder composes what a proxy sees and what its Envoy is sent: the Build of server.Options. What proxies share is made
// once.
func Builder() func(*mesh.World, mesh.Node, bool) (*xdsgen.Resources, error) {
	var mu sync.Mutex
	var world *mesh.World
	var cache *view.Cache
	parts := xdsgen.NewBuilder()
	return func(w *mesh.World, n mesh.Node, delta bool) (*xdsgen.Resources, error) {
		mu.Lock()
		if world != w {
			world, cache = w, view.NewCache(w)
		}
		c := cache
		mu.Unlock()
		if delta {
			return parts.BuildDelta(c.Of(n))
		}
		return parts.Build(c.Of(n))
	}
}

func serveXDS(ctx context.Context, s *server.Server, l net.Listener) error {
	g := serving.NewGRPC()
	s.Register(g)
	return serving.GRPC(ctx, g, l, "xDS", s.Close)
}

// publisher compiles what was read and hands it on. Calls do not overlap.
type publisher struct {
	server *server.Server
	log    *slog.Logger
	told   map[istio.Diagnostic]bool // in force and logged
}

func (p *publisher) publish(set istio.Set, ds istio.Diagnostics) {
	w, more, err := compileWorld(set)
	ds = append(append(istio.Diagnostics{}, ds...), more...)
	ds.Sort()
	p.server.Report(ds)
	p.tell(ds)
	if err != nil {
		p.log.Error("compiling failed, the last configuration stays", "error", err)
		return
	}
	p.server.Publish(w)
}

// compileWorld turns a panic into an error: input that nobody thought of must not stop a control plane that has good
// configuration to serve.
func compileWorld(set istio.Set) (w *mesh.World, ds istio.Diagnostics, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("compile: panic: %v", p)
		}
	}()
	w, ds = compile.World(compile.Inputs{Set: set})
	return w, ds, nil
}

// tell logs each diagnostic once, and again if it went and came back.
func (p *publisher) tell(ds istio.Diagnostics) {
	now := map[istio.Diagnostic]bool{}
	for _, d := range ds {
		if !p.told[d] && !now[d] {
			p.log.Log(context.Background(), level(d.Severity), d.String())
		}
		now[d] = true
	}
	p.told = now
}

func level(s istio.Severity) slog.Level {
	switch s {
	case istio.Error:
		return slog.LevelError
	case istio.Warning:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
