package localmesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	cpmesh "github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// mesh is all that runs. One goroutine owns it: see Run.
type mesh struct {
	o       Options
	out     *printer
	started time.Time
	files   []string // the user's, absolute
	dir     *state.Dir
	block   *loopback.Block
	envoy   string
	module  string // the dynamic module; "" if there is none
	wasm    string // mizzen.wasm; "" if there is none
	cp      *controlPlane
	limiter *rateLimiter
	ids     *identities
	pods    *pods // nil: workloads have no namespaces

	workloads    map[string]*workload // by key
	gateways     map[string]*gateway
	firstGateway string            // key of the one on 127.0.0.1
	retiring     map[string]bool   // keys of pods that the control plane is to forget
	revision     string            // of the applied overlay, as last read
	planned      istio.Diagnostics // of the start
	// source is set if the control plane reads a copy of the user's files; copying is closed when its writer has ended.
	source  atomic.Pointer[source]
	copying <-chan struct{}
	// starting bounds how many Envoys initialise at once: too many on few cores and all are slow.
	starting chan struct{}
}

// open finds what is needed and reserves what others must not take. On an error close has to be called all the same.
func (m *mesh) open() error {
	var err error
	getenv := lookup(m.o.Env)
	if m.envoy, err = FindEnvoy(m.o.Envoy, m.o.Executable, getenv); err != nil {
		return err
	}
	m.module = FindModule(m.o.Executable, getenv)
	if m.wasm, err = FindWasm(m.o.Executable, getenv); err != nil && m.o.Filters == cpmesh.HostWasm {
		return err
	}
	if m.dir, err = state.Create(m.o.Root); err != nil {
		return err
	}
	for _, d := range []string{"logs", "envoy"} {
		if err := os.Mkdir(filepath.Join(m.dir.Path, d), 0o700); err != nil {
			return fmt.Errorf("create state directory: %w", err)
		}
	}
	if m.files, err = m.o.files(m.dir.Path); err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	for _, f := range m.files {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("read manifests: %w", err)
		}
	}
	if m.ids, err = newIdentities(m.dir.Path); err != nil {
		return err
	}
	if m.block, err = loopback.Reserve(); err != nil {
		return err
	}
	return m.openPods()
}

// close stops and removes everything, in order: proxies and applications, the control plane, files. It may be called
// whatever open and update have got to.
func (m *mesh) close() error {
	var wg sync.WaitGroup
	for _, w := range m.workloads {
		wg.Add(1)
		go func() { defer wg.Done(); w.stop() }()
	}
	for _, g := range m.gateways {
		wg.Add(1)
		go func() { defer wg.Done(); g.stop() }()
	}
	wg.Wait()
	if m.cp != nil {
		m.cp.process.Stop()
	}
	if m.limiter != nil {
		m.limiter.process.Stop()
	}
	if m.block != nil {
		m.block.Close()
	}
	err := m.pods.close()
	if m.o.ReadyFile != "" {
		if e := os.Remove(m.o.ReadyFile); e != nil && !os.IsNotExist(e) {
			err = fmt.Errorf("remove ready file: %w", e)
		}
	}
	err = errors.Join(err, m.ids.close())
	if m.dir != nil {
		err = errors.Join(err, m.dir.Remove())
	}
	return err
}

// change is the difference between what runs and what is to run.
type change struct {
	goneWorkloads, newWorkloads []*workload
	goneGateways, newGateways   []*gateway
}

// diff plans what to stop and to start. What changed is both: stopped, and started anew at the same addresses.
func (m *mesh) diff(p plan.Plan) (change, error) {
	var c change
	wanted := map[string]bool{}
	for _, pw := range p.Workloads {
		wanted[pw.Key()] = true
		old := m.workloads[pw.Key()]
		if old != nil && old.print == fingerprint(pw) {
			old.plan = pw
			continue
		}
		if old != nil {
			c.goneWorkloads = append(c.goneWorkloads, old)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.workloads)) {
		if !wanted[key] {
			c.goneWorkloads = append(c.goneWorkloads, m.workloads[key])
		}
	}
	return c, m.diffGateways(p, &c)
}

func (m *mesh) diffGateways(p plan.Plan, c *change) error {
	wanted := map[string]bool{}
	for _, pg := range p.Gateways {
		wanted[pg.Key()] = true
		old := m.gateways[pg.Key()]
		if old == nil {
			continue
		}
		var added []uint32
		for _, n := range pg.Ports {
			if !slices.Contains(old.plan.Ports, n) {
				added = append(added, n)
			}
		}
		changed, err := old.extend(added)
		if err != nil {
			return err
		}
		if changed || old.print != gatewayFingerprint(pg) {
			c.goneGateways = append(c.goneGateways, old)
			continue
		}
		if len(added) > 0 {
			old.plan = pg
			if err := m.writePod(pg.Pod(old.podIP(), old.allBound(), true)); err != nil {
				return err
			}
		}
		old.plan = pg
		if err := old.expose(); err != nil {
			return err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.gateways)) {
		if !wanted[key] {
			c.goneGateways = append(c.goneGateways, m.gateways[key])
		}
	}
	return nil
}

// update makes what runs follow the configuration, and returns once every proxy has acknowledged it. first is the start,
// when nothing has to be kept alive and the control plane is started too.
func (m *mesh) update(ctx context.Context, set istio.Set, p plan.Plan, first bool) error {
	m.revision = overlay.RevisionOf(set)
	m.route(p)
	c, err := m.diff(p)
	if err != nil {
		return err
	}
	if err := m.retire(ctx, &c); err != nil {
		return err
	}
	failed := m.create(p, &c)
	if first && failed != nil {
		return failed
	}
	if err := m.writePods(&c, first); err != nil {
		return err
	}
	if first {
		paths := append(slices.Clone(m.files), state.AppliedDir(m.dir.Path), state.PodsDir(m.dir.Path))
		if err := m.startRateLimiter(paths); err != nil {
			return err
		}
		if err := m.startControlPlane(paths); err != nil {
			return err
		}
		if err := m.awaitControlPlane(ctx); err != nil {
			return err
		}
		if err := m.pods.follow(m); err != nil {
			return err
		}
		if err := m.awaitRateLimiter(ctx); err != nil {
			return err
		}
	}
	if err := m.startProxies(ctx, &c); err != nil {
		return err
	}
	if first && slices.ContainsFunc(c.newWorkloads, func(w *workload) bool { return w.anonymous }) {
		if err := m.writePods(&c, true); err != nil {
			return err
		}
	}
	m.awaitPrograms(ctx, &c)
	if err := m.awaitAcknowledged(ctx); err != nil {
		return err
	}
	clear(m.retiring)
	if !first && len(c.newWorkloads)+len(c.newGateways) > 0 { // now they may take traffic
		if err := m.writePods(&c, true); err != nil {
			return err
		}
		if err := m.awaitAcknowledged(ctx); err != nil {
			return err
		}
	}
	return failed
}

// retire takes what goes out of the mesh, waits until no proxy sends to it any more, and stops it.
func (m *mesh) retire(ctx context.Context, c *change) error {
	if len(c.goneWorkloads)+len(c.goneGateways) == 0 {
		return nil
	}
	for _, w := range c.goneWorkloads {
		if err := m.removePod(w.plan.Namespace, w.plan.Name); err != nil {
			return err
		}
		delete(m.workloads, w.plan.Key())
		m.retiring[w.plan.Key()] = true
	}
	for _, g := range c.goneGateways {
		if err := m.removePod(g.plan.Namespace, g.plan.PodName()); err != nil {
			return err
		}
		delete(m.gateways, g.plan.Key())
		m.retiring[g.plan.Namespace+"/"+g.plan.PodName()] = true
	}
	err := m.awaitAcknowledged(ctx)
	var wg sync.WaitGroup
	for _, w := range c.goneWorkloads {
		wg.Add(1)
		go func() { defer wg.Done(); w.proxy.drain(ctx); w.stop(); m.removed(w.pod) }()
		m.block.Release(w.plan.Key())
	}
	for _, g := range c.goneGateways {
		wg.Add(1)
		go func() { defer wg.Done(); g.proxy.drain(ctx); g.stop(); m.removed(g.pod) }()
		if g.key != "" {
			m.block.Release(g.key)
		} else {
			m.firstGateway = ""
		}
	}
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.o.Log.Warn("stopped workloads although proxies may still send to them", "error", err)
	}
	return nil
}

// create places what is new and starts its applications.
func (m *mesh) create(p plan.Plan, c *change) error {
	var failed []error
	for _, pg := range p.Gateways {
		if m.gateways[pg.Key()] != nil {
			continue
		}
		g, err := m.newGateway(pg)
		if err != nil {
			return err
		}
		m.gateways[pg.Key()] = g
		c.newGateways = append(c.newGateways, g)
	}
	for _, pw := range p.Workloads {
		if m.workloads[pw.Key()] != nil {
			continue
		}
		w, err := m.newWorkload(pw)
		if err == nil && !(pw.Sidecar && pw.Proxy.Hold) {
			err = m.startApplication(w)
		}
		if err != nil { // the others start; this one is tried again with the next change
			m.block.Release(pw.Key())
			if w != nil {
				_ = w.pod.Close()
			}
			failed = append(failed, err)
			continue
		}
		m.workloads[pw.Key()] = w // from here on close stops it
		c.newWorkloads = append(c.newWorkloads, w)
	}
	return errors.Join(failed...)
}

func (m *mesh) writePods(c *change, ready bool) error {
	for _, w := range c.newWorkloads {
		if err := m.writePod(w.plan.Pod(w.place(), ready)); err != nil {
			return err
		}
	}
	for _, g := range c.newGateways {
		if err := m.writePod(g.plan.Pod(g.podIP(), g.allBound(), ready)); err != nil {
			return err
		}
	}
	return nil
}

// startProxies starts an Envoy for everything new, a bounded number at a time.
func (m *mesh) startProxies(ctx context.Context, c *change) error {
	group, ctx := errgroup.WithContext(ctx)
	var up atomic.Int32
	all := len(c.newGateways)
	for _, w := range c.newWorkloads {
		if w.plan.Sidecar {
			all++
		}
	}
	defer m.out.progress("")
	start := func(proxy func() error) {
		group.Go(func() error {
			err := proxy()
			m.out.progress(fmt.Sprintf("%d of %d Envoys started", up.Add(1), all))
			return err
		})
	}
	for _, g := range c.newGateways {
		start(func() error { return m.startGatewayProxy(ctx, g) })
	}
	for _, w := range c.newWorkloads {
		if w.plan.Sidecar {
			start(func() error { return m.startSidecar(ctx, w) })
		}
	}
	return group.Wait()
}

// atOnce is how many Envoys may initialise at the same time.
func atOnce() int { return max(8, 4*runtime.NumCPU()) }

func lookup(env []string) func(string) string {
	return func(name string) string {
		for _, kv := range env {
			if len(kv) > len(name) && kv[len(name)] == '=' && kv[:len(name)] == name {
				return kv[len(name)+1:]
			}
		}
		return ""
	}
}
