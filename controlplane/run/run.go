// Package run is the control plane put together: files or a cluster are read and watched, compiled, and served to proxies.
package run

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/module"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Options of Run.
type Options struct {
	// Paths of files and directories, read and watched. On the same object a later path wins.
	Paths []string
	// Cluster, if not nil, is the Kubernetes cluster that is read and watched in their place.
	Cluster *Cluster
	// StateDir keeps the last good state of each object over restarts; "" for as long as the process runs.
	StateDir string
	// XDSAddr and HTTPAddr are where to listen: discovery in plaintext, and the monitoring pages.
	XDSAddr, HTTPAddr string
	Log               *slog.Logger // not nil
	Version           string
	// Filters and Wasm are server.Options'.
	Filters mesh.FilterHost
	Wasm    string
	// RateLimit and RateLimitTimeout are compile.Inputs'.
	RateLimit        string
	RateLimitTimeout time.Duration
	// Modules is the directory where the modules of plugins are kept; "" is one in the user's cache. ModuleServer is the host:port
	// where proxies that do not see it fetch them; "" HTTPAddr, if that is one address. Insecure are module.Options'.
	Modules, ModuleServer string
	Insecure              []string
	// Identity, if not nil, is the certificate authority and its listener.
	Identity *Identity
	// ServiceRange is where Services without a cluster IP are given one, as an API server does; the zero value: nowhere. IPv4.
	ServiceRange netip.Prefix
	// Listening, if not nil, is told the addresses that were bound.
	Listening func(xds, http net.Addr)
	// Secured, if not nil, is told the address of Identity's listener.
	Secured func(net.Addr)
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
	var id *identity
	var admit func(context.Context, mesh.Node) (mesh.Node, error)
	if o.Identity != nil {
		if id, err = openIdentity(ctx, *o.Identity, o.Log); err != nil {
			_, _ = xds.Close(), pages.Close()
			return err
		}
		admit = id.admit
	}
	var hook *webhook
	if o.Cluster != nil {
		if hook, err = o.Cluster.listen(o.Log); err != nil {
			_, _ = xds.Close(), pages.Close()
			return err
		}
	}
	p := &publisher{log: o.Log, plugins: &plugins{}, told: map[istio.Diagnostic]bool{}, hosts: map[mesh.FilterHost]bool{o.Filters: true}, next: make(chan struct{}), compiled: make(chan struct{})}
	if p.plugins.store, err = module.Open(module.Options{
		Dir: cmp.Or(o.Modules, moduleDir()), Insecure: o.Insecure, Log: o.Log, Changed: p.refresh,
	}); err != nil {
		_, _ = xds.Close(), pages.Close()
		return err
	}
	defer p.plugins.store.Close()
	fleet := NewFleet(p.notice)
	if o.Cluster != nil {
		fleet.as, admit = asKnown, p.admitKnown(id)
	}
	p.server = server.New(server.Options{
		Build: fleet.Build, Delta: fleet.Delta, Names: fleet.Names, Log: o.Log, Version: o.Version, Filters: o.Filters, Wasm: o.Wasm, Admit: admit,
		Calls: p.calls(o),
	})
	s := p.server
	if o.Listening != nil {
		o.Listening(xds.Addr(), pages.Addr())
	}
	o.Log.Info("control plane is up", "xds", xds.Addr().String(), "http", pages.Addr().String())
	p.inputs = compile.Inputs{RateLimit: o.RateLimit, RateLimitTimeout: o.RateLimitTimeout, ModuleServer: cmp.Or(o.ModuleServer, reachable(pages.Addr()))}
	g, ctx := errgroup.WithContext(ctx)
	if id != nil {
		p.inputs.TrustDomain = id.authority.TrustDomain()
		if o.Secured != nil {
			o.Secured(id.listener.Addr())
		}
		id.start(ctx, g, s)
	}
	ips := clusterIPs{zone: o.ServiceRange}
	g.Go(func() error {
		return watch(ctx, o, func(set istio.Set, ds istio.Diagnostics) { p.publish(ips.deal(set), ds) })
	})
	g.Go(func() error { return serveXDS(ctx, s, xds) })
	g.Go(func() error {
		return serving.HTTP(ctx, withWebhook(withModules(s.Handler(), p.plugins.store), hook), pages)
	})
	if o.Cluster != nil {
		hook.start(ctx, g, p)
		g.Go(func() error { return o.Cluster.lead(ctx, p, id) })
	}
	return g.Wait()
}

// watch reads configuration and publishes it, and again after every change.
func watch(ctx context.Context, o Options, publish func(istio.Set, istio.Diagnostics)) error {
	if c := o.Cluster; c != nil {
		return kube.Watch(ctx, kube.Options{Config: c.Config, Namespace: c.Namespace, Revision: c.Revision, Log: o.Log}, publish)
	}
	return dir.WatchKept(ctx, o.Paths, o.StateDir, o.Log, publish)
}

func serveXDS(ctx context.Context, s *server.Server, l net.Listener) error {
	g := serving.NewGRPC(server.Codec())
	s.Register(g)
	return serving.GRPC(ctx, g, l, "xDS", s.Close)
}

// publisher compiles what was read and hands it on. Calls of publish do not overlap.
type publisher struct {
	server *server.Server
	inputs compile.Inputs // without the Set
	log    *slog.Logger

	compiler compile.Incremental // publish's

	mu       sync.Mutex
	told     map[istio.Diagnostic]bool // in force and logged
	set      istio.Set                 // read last
	world    *mesh.World               // compiled last; nil none
	next     chan struct{}             // closed once there is another one
	compiled chan struct{}             // closed with the first one
	found    istio.Diagnostics         // in what was read last
	unmet    istio.Diagnostics         // of the modules that it wants
	unfit    istio.Diagnostics         // of what hosts cannot do
	hosts    map[mesh.FilterHost]bool  // that some proxy has, or had

	plugins *plugins
}

// notice takes down what runs the policies in a proxy: a host that is new may be unable to do what the world says.
func (p *publisher) notice(h mesh.FilterHost) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.hosts[h] {
		p.hosts[h] = true
		p.report()
	}
}

// report tells what was found, and what the hosts in use cannot do. p.mu is held.
func (p *publisher) report() {
	p.unfit = nil
	if p.world != nil {
		for _, h := range []mesh.FilterHost{mesh.HostWasm, mesh.HostGolang, mesh.HostNative} {
			if p.hosts[h] {
				p.unfit = append(p.unfit, HostFindings(p.world, h)...)
			}
		}
	}
	ds := slices.Concat(p.found, p.unmet, p.unfit)
	ds.Sort()
	p.server.Report(ds)
	p.tell(ds)
}

func (p *publisher) publish(set istio.Set, ds istio.Diagnostics) {
	in := p.inputs
	in.Set = set
	w, more, err := p.compile(in)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set = set
	p.found = append(append(istio.Diagnostics{}, ds...), more...)
	if err != nil {
		p.report()
		p.log.Error("compiling failed, the last configuration stays", "error", err)
		return
	}
	if p.world == nil {
		close(p.compiled)
	}
	p.world = w
	close(p.next)
	p.next = make(chan struct{})
	p.resolve()
}

// resolve publishes the world with the modules that are there. p.mu is held.
func (p *publisher) resolve() {
	var w *mesh.World
	w, p.unmet = p.plugins.resolve(p.world)
	p.report()
	p.server.Publish(w)
}

// refresh does it again, for other modules.
func (p *publisher) refresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.world != nil {
		p.resolve()
	}
}

// compile turns a panic into an error: input that nobody thought of must not stop a control plane that has good configuration to
// serve.
func (p *publisher) compile(in compile.Inputs) (w *mesh.World, ds istio.Diagnostics, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("compile: panic: %v", v)
		}
	}()
	w, ds = p.compiler.World(in)
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
