package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// Agent is one pod's.
type Agent struct {
	o        Options
	set      settings
	identity *agent.Agent // nil: the mesh has none
	relay    *relay
	envoy    *supervisor.Process
	ends     atomic.Int64 // of the certificate, Unix seconds; 0: there is none
	ready    atomic.Bool  // Envoy has had its configuration
	draining atomic.Int64 // since when, Unix nanoseconds; 0: not
	quit     chan struct{}
	quitOnce sync.Once
	counts   counts
}

// Run runs the agent until ctx is done, or somebody in the pod asks for its end. Envoy has been let end its connections, and has ended, when
// it returns. If another module of the policies takes the place of the one that Envoy runs, both start anew.
func Run(ctx context.Context, o Options) error {
	for {
		if again, err := run(ctx, o); err != nil || !again {
			return err
		}
	}
}

// run is Run, once. again tells that another module is there.
func run(ctx context.Context, o Options) (again bool, err error) {
	set, err := read(o)
	if err != nil {
		return false, err
	}
	a := &Agent{o: o, set: set, quit: make(chan struct{})}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	background := func(f func()) {
		all.Add(1)
		go func() { defer all.Done(); f() }()
	}
	sds, err := a.serve(life, background)
	if err != nil {
		return false, err
	}
	file, err := a.bootstrap(sds)
	if err != nil {
		return false, err
	}
	o.Log.Info("starting Envoy", "node", a.set.node.NodeID, "controlPlane", a.set.discovery, "tls", a.set.secure, "filters", a.set.node.Metadata["MIZZEN_FILTERS"])
	if a.envoy, err = a.startEnvoy(file); err != nil {
		return false, err
	}
	if err := a.serveStatus(life, background); err != nil {
		a.envoy.Stop()
		return false, err
	}
	replaced := make(chan mesh.FilterHost, 1)
	background(func() {
		look := time.NewTicker(lookEvery)
		defer look.Stop()
		if by, ok := set.replaced(life, o.Paths, look.C); ok {
			replaced <- by
		}
	})
	select {
	case <-ctx.Done():
	case <-a.quit:
	case by := <-replaced:
		o.Log.Info("another module is there: the proxy starts anew", "module", by, "was", set.module)
		again = true
	}
	a.end()
	return again, nil
}

// serve begins to serve Envoy its identity and configuration, and returns the socket of the identity; "" if there is none.
func (a *Agent) serve(life context.Context, background func(func())) (sds string, err error) {
	o := a.o
	if err := os.MkdirAll(o.Paths.Config, 0o700); err != nil {
		return "", fmt.Errorf("make %s: %w", o.Paths.Config, err)
	}
	control, err := a.dial(a.set.discovery)
	if err != nil {
		return "", err
	}
	store := openStore(o.Paths.Data, o.Log)
	a.relay = &relay{control: discoveryv3.NewAggregatedDiscoveryServiceClient(control), with: a.authorized, store: store, log: o.Log}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessage))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, a.relay)
	sockets := []string{o.Paths.xds()}
	conns := []*grpc.ClientConn{control}
	if a.set.secure {
		authority, err := a.newIdentity()
		if err != nil {
			return "", err
		}
		conns = append(conns, authority)
		a.identity.Register(life, g)
		sds = filepath.Join(o.Paths.Config, "SDS")
		if info, err := os.Stat(o.Paths.Sockets); err == nil && info.IsDir() {
			sds = filepath.Join(o.Paths.Sockets, "socket")
		}
		sockets = append(sockets, sds)
		background(func() { _ = a.identity.Run(life) })
	}
	for _, path := range sockets {
		_ = os.Remove(path) // of an earlier container
		l, err := net.Listen("unix", path)
		if err != nil {
			return "", fmt.Errorf("serve Envoy: %w", err)
		}
		background(func() { _ = g.Serve(l) })
	}
	background(func() { store.keep(life.Done()) })
	if err := a.serveNames(life, control, background); err != nil {
		return "", err
	}
	background(func() {
		<-life.Done()
		g.Stop()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return sds, nil
}

// bootstrap writes Envoy's first configuration.
func (a *Agent) bootstrap(sds string) (file string, err error) {
	a.set.node.SDSSocket = sds
	raw, err := bootstrap.Config(a.set.node)
	if err != nil {
		return "", err
	}
	file = a.o.Paths.bootstrap()
	return file, wholefile.Secret(file, raw)
}

// stop asks for the agent's end.
func (a *Agent) stop() { a.quitOnce.Do(func() { close(a.quit) }) }

// since tells how long Envoy has been draining; 0: it is not.
func (a *Agent) since() time.Duration {
	at := a.draining.Load()
	if at == 0 {
		return 0
	}
	return time.Since(time.Unix(0, at))
}
