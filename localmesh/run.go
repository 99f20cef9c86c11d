package localmesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	cpmesh "github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// configuration is what was read of the files at one time.
type configuration struct {
	set   istio.Set
	diags istio.Diagnostics
}

// Run starts a mesh and keeps it until ctx ends, or the command does. It returns the command's exit status, and leaves no
// process and no file.
func Run(ctx context.Context, o Options) (status int, err error) {
	o.defaults()
	m := &mesh{
		o: o, out: newPrinter(o.Stdout), started: time.Now(), workloads: map[string]*workload{},
		gateways: map[string]*gateway{}, retiring: map[string]bool{}, starting: make(chan struct{}, atOnce()),
	}
	defer func() { err = errors.Join(err, m.close()) }() // also on the way of a panic
	if err := m.open(); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Namespace != "default" {
		folder, err := m.copyFiles(ctx)
		if m.copying != nil {
			defer func() { cancel(); <-m.copying }()
		}
		if err != nil {
			return 1, fmt.Errorf("read manifests: %w", err)
		}
		m.files = []string{folder}
	}
	changes, watched := m.watch(ctx)
	defer func() { cancel(); <-watched.done }()
	select {
	case <-ctx.Done():
		return 0, nil
	case <-watched.done:
		return 1, watched.err
	case c := <-changes:
		if err := m.begin(ctx, c); err != nil {
			if ctx.Err() != nil {
				return 0, nil // interrupted while starting
			}
			return 1, err
		}
	}
	if len(o.Command) > 0 {
		return m.runCommand(ctx, changes)
	}
	return 0, m.follow(ctx, changes, nil)
}

// watching is the goroutine that reads the files.
type watching struct {
	done chan struct{}
	err  error // once done
}

// watch sends the configuration, and each later one in place of one not yet taken.
func (m *mesh) watch(ctx context.Context) (<-chan configuration, *watching) {
	changes := make(chan configuration, 1)
	w := &watching{done: make(chan struct{})}
	paths := append(slices.Clone(m.files), state.AppliedDir(m.dir.Path))
	go func() {
		defer close(w.done)
		w.err = dir.Watch(ctx, paths, m.o.Log, func(set istio.Set, diags istio.Diagnostics) {
			select {
			case <-changes:
			default:
			}
			changes <- configuration{set, diags}
		})
	}()
	return changes, w
}

// begin brings everything up and tells the user.
func (m *mesh) begin(ctx context.Context, c configuration) error {
	p, diags := plan.Of(c.set)
	if err := m.update(ctx, c.set, p, true); err != nil {
		if ctx.Err() == nil {
			m.out.diagnostics(m.original(slices.Concat(c.diags, diags))) // they may be why
		}
		return err
	}
	m.planned = diags
	s := m.state()
	m.out.gateways(s)
	m.out.workloads(s)
	if len(p.Workloads) == 0 {
		m.out.say("there are no workloads in %s", joined(m.o.Files))
	}
	if m.module == "" && cmp.Or(m.o.Filters, cpmesh.HostModule) == cpmesh.HostModule {
		m.out.say("no dynamic module found (MIZZEN_MODULE, build/libmizzen.so): the policies are in force as far as Envoy's own filters go; run `make build`")
	}
	m.report(ctx, diags)
	m.out.say("ready in %s: %d proxies acknowledged", seconds(time.Since(m.started)), len(m.proxyIDs()))
	if len(m.o.Command) == 0 {
		m.out.try(s, c.set, m.o.Executable)
	}
	return m.publish(s)
}

// look is how often the control plane is asked for new findings.
const look = 250 * time.Millisecond

// follow applies changes until ctx ends or the command does.
func (m *mesh) follow(ctx context.Context, changes <-chan configuration, command <-chan error) error {
	planned := m.planned
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-command:
			return err
		case c := <-changes:
			planned = m.followOne(ctx, c)
		case <-tick.C:
			m.report(ctx, planned)
		}
	}
}

// followOne brings one change into force. What fails is told and stays as it is: the mesh runs on.
func (m *mesh) followOne(ctx context.Context, c configuration) istio.Diagnostics {
	before := m.names()
	p, diags := plan.Of(c.set)
	if err := m.update(ctx, c.set, p, false); err != nil && ctx.Err() == nil {
		m.out.say("error: follow the change: %v", err)
	}
	if ctx.Err() != nil {
		return diags
	}
	s := m.state()
	if !slices.Equal(before, m.names()) {
		m.out.gateways(s)
		m.out.workloads(s)
	}
	if err := m.publish(s); err != nil {
		m.out.say("error: %v", err)
	}
	m.report(ctx, diags)
	return diags
}

// report prints findings that are new: of planning, and all that the control plane has, which reads the same files and hears
// from the proxies. While it cannot be asked, what was last told stands.
func (m *mesh) report(ctx context.Context, planned istio.Diagnostics) {
	ds, err := m.cp.Diagnostics(ctx)
	if err != nil {
		return
	}
	all := m.original(slices.Concat(planned, ds))
	all.Sort()
	m.out.diagnostics(all)
}

// names of everything that runs, sorted.
func (m *mesh) names() []string {
	return append(slices.Sorted(maps.Keys(m.workloads)), slices.Sorted(maps.Keys(m.gateways))...)
}

// state describes what runs.
func (m *mesh) state() *state.State {
	s := &state.State{
		Gateways: []state.Gateway{}, Workloads: []state.Workload{}, ControlPlane: m.cp.ControlPlane, RateLimit: &m.limiter.RateLimit,
		Dir: m.dir.Path, PID: os.Getpid(), Files: m.files, Started: m.started, Namespace: m.o.Namespace, Revision: m.revision,
	}
	for _, key := range slices.Sorted(maps.Keys(m.workloads)) {
		s.Workloads = append(s.Workloads, m.workloads[key].state())
	}
	for _, key := range slices.Sorted(maps.Keys(m.gateways)) {
		s.Gateways = append(s.Gateways, m.gateways[key].state())
	}
	slices.SortStableFunc(s.Gateways, func(a, b state.Gateway) int { // the one on 127.0.0.1 first
		return cmp.Compare(btoi(a.Address != localhost), btoi(b.Address != localhost))
	})
	return s
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// publish writes the state, and the ready file.
func (m *mesh) publish(s *state.State) error {
	if err := s.Write(filepath.Join(m.dir.Path, state.File)); err != nil {
		return err
	}
	if m.o.ReadyFile == "" {
		return nil
	}
	return s.Write(m.o.ReadyFile)
}

// runCommand runs the user's command in the mesh and returns its exit status.
func (m *mesh) runCommand(ctx context.Context, changes <-chan configuration) (int, error) {
	c := exec.CommandContext(ctx, m.o.Command[0], m.o.Command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = m.o.Stdin, m.o.Stdout, m.o.Stderr
	c.Env = append(slices.Clone(m.o.Env), "MIZZEN_STATE="+m.dir.Path, "MIZZEN_GATEWAY="+m.gatewayURL())
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 2 * time.Second
	if err := c.Start(); err != nil {
		return 1, fmt.Errorf("run command: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	err := m.follow(ctx, changes, done)
	if ctx.Err() != nil {
		<-done
		return 130, nil // as a shell tells of an interrupt
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		if code := exit.ExitCode(); code >= 0 {
			return code, nil
		}
		return 128 + signalOf(exit), nil
	}
	return 1, fmt.Errorf("run command: %w", err)
}

// gatewayURL is the first gateway's, or where it would be.
func (m *mesh) gatewayURL() string {
	for _, g := range m.state().Gateways {
		if g.HTTP != "" {
			return g.HTTP
		}
	}
	return fmt.Sprintf("http://%s:%d", localhost, m.o.GatewayPort)
}
