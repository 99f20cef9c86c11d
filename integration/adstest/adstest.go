// Package adstest gives configurations to real Envoys that live on from one to the next, over the discovery server, and tells
// whether they took them: acknowledged, warmed and in force. For tests only.
package adstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// patience bounds how long the proxies may take for one configuration.
const patience = 30 * time.Second

// Rig is a discovery server and some Envoys. Not safe for concurrent use.
type Rig struct {
	t       testing.TB
	server  *server.Server
	address string // of the server
	agent   string // socket of the agent that serves certificates
	names   string // address of the name server
	proxies []*proxy
	count   uint64 // publications
	whole   bool   // state of the world
}

// proxy is one Envoy.
type proxy struct {
	id    string
	envoy *envoytest.Envoy

	mu   sync.Mutex
	made *xdsgen.Resources // what it is to have
}

// Start starts n Envoys of the incremental protocol. It skips the test if there is none.
func Start(t testing.TB, n int) *Rig {
	t.Helper()
	return start(t, n, false)
}

// StartWhole is Start with Envoys that ask for the state of the world.
func StartWhole(t testing.TB, n int) *Rig {
	t.Helper()
	return start(t, n, true)
}

func start(t testing.TB, n int, whole bool) *Rig {
	t.Helper()
	envoytest.Find(t)
	r := &Rig{t: t, whole: whole}
	// Nothing lingers, so that a proxy soon has just what it is to have.
	r.server = server.New(server.Options{Build: r.build, Quiet: -1, MaxQuiet: -1, Linger: -1, AckTimeout: patience, Log: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(server.Codec())
	r.server.Register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(func() {
		r.server.Close()
		g.Stop()
	})
	r.address, r.agent, r.names = l.Addr().String(), startAgent(t), startNames(t)
	r.publish()
	for i := range n {
		r.proxies = append(r.proxies, &proxy{id: fmt.Sprintf("sidecar~127.0.0.1~proxy-%d.default~default.svc.cluster.local", i), made: &xdsgen.Resources{}})
		r.start(r.proxies[i])
	}
	return r
}

func (r *Rig) start(p *proxy) {
	r.t.Helper()
	config, err := bootstrap.Config(bootstrap.Options{NodeID: p.id, XDSAddress: r.address, SDSSocket: r.agent, StateOfTheWorld: r.whole})
	if err != nil {
		r.t.Fatal(err)
	}
	p.envoy = envoytest.Start(r.t, envoytest.Options{Config: adapted(r.t, config, r.names)})
}

// adapted is a bootstrap with a name server of ours, and only the statistics that inForce reads: to make the others takes an Envoy
// longer than all else.
func adapted(t testing.TB, config []byte, names string) string {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal(config, &tree); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(names)
	if err != nil {
		t.Fatal(err)
	}
	tree["typed_dns_resolver_config"] = map[string]any{"name": "envoy.network.dns_resolver.cares", "typed_config": map[string]any{
		"@type":     "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
		"resolvers": []any{map[string]any{"socket_address": map[string]any{"address": host, "port_value": json.Number(port)}}},
	}}
	tree["stats_config"] = map[string]any{"use_all_default_tags": false, "stats_matcher": map[string]any{"inclusion_list": map[string]any{
		"patterns": []any{map[string]any{"prefix": "cluster_manager."}, map[string]any{"prefix": "listener_manager."}},
	}}}
	out, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// build is the server's.
func (r *Rig) build(_ *mesh.World, n mesh.Node, _ bool) (*xdsgen.Resources, error) {
	for _, p := range r.proxies {
		if p.id == n.ID {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.made, nil
		}
	}
	return nil, fmt.Errorf("no proxy %s", n.ID)
}

func (r *Rig) publish() {
	r.count++
	r.server.Publish(&mesh.World{}) // which build does not look at
}

// Accept gives each Envoy its resources, in place of all that it has, and waits until they are in force. An error says what was
// refused, or what never became ready.
//
// An Envoy that ends on the way is an error, too; the next Accept starts it anew.
func (r *Rig) Accept(list ...*xdsgen.Resources) error {
	for i, p := range r.proxies {
		if !p.envoy.Running() {
			p.give(&xdsgen.Resources{})
			r.start(p)
		}
		made, err := unbound(list[i])
		if err != nil {
			return err
		}
		p.give(made)
	}
	r.publish()
	if err := r.acknowledged(); err != nil {
		return err
	}
	for _, p := range r.proxies {
		if err := p.inForce(); err != nil {
			return err
		}
	}
	return nil
}

// ended is an Envoy that does not run, -1 if all do.
func (r *Rig) ended() int {
	return slices.IndexFunc(r.proxies, func(p *proxy) bool { return !p.envoy.Running() })
}

// acknowledged waits until every proxy has acknowledged everything.
func (r *Rig) acknowledged() error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		synced := 0
		for _, s := range r.server.Status() {
			if s.Generation != r.count {
				continue
			}
			if s.Synced {
				synced++
			}
			for _, t := range s.Types {
				if t.State == server.StateError {
					return r.refusal()
				}
			}
		}
		switch i := r.ended(); {
		case i >= 0:
			return fmt.Errorf("proxy %d ended: %s", i, last(r.proxies[i].envoy.Log(), 4000))
		case synced == len(r.proxies):
			return nil
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("not acknowledged within %v: %+v", patience, r.server.Status()), r.refusal())
		}
	}
}

// refusal is what the server has to complain of.
func (r *Rig) refusal() error {
	var list []string
	for _, d := range r.server.Diagnostics() {
		list = append(list, d.Message)
	}
	return errors.New(strings.Join(list, "\n"))
}

func (p *proxy) give(made *xdsgen.Resources) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = made
}

const activeClusters = "cluster_manager.active_clusters"

// own is how many clusters a proxy has of its bootstrap: the control plane and the agent.
const own = 2

// inForce waits until what an Envoy uses is what it was given: an acknowledgement alone only says that it began to warm it.
func (p *proxy) inForce() error {
	want := map[string]int64{
		"cluster_manager.warming_clusters": 0, activeClusters: int64(len(p.made.Clusters)) + own,
		"listener_manager.total_listeners_warming": 0, "listener_manager.total_listeners_active": int64(len(p.made.Listeners)),
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		got, err := p.envoy.TryStats(`^(cluster_manager\.(warming|active)_clusters|listener_manager\.total_listeners_(warming|active))$`)
		if err != nil {
			return err
		}
		off := ""
		for name, n := range want {
			// Clusters of listeners that drain stay as long as these.
			if more := name == activeClusters && got[name] > n; got[name] != n && !more {
				off += fmt.Sprintf(" %s is %d, want %d;", name, got[name], n)
			}
		}
		if off == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("acknowledged, and not in force after %v:%s", patience, off)
		}
	}
}

// unbound is the resources with listeners that take no port of this machine: whether it is free is no matter of configuration.
func unbound(in *xdsgen.Resources) (*xdsgen.Resources, error) {
	out := *in
	out.Listeners = nil
	for _, l := range in.Listeners {
		m := &listenerv3.Listener{}
		if err := l.Body.UnmarshalTo(m); err != nil {
			return nil, fmt.Errorf("read listener %s: %w", l.Name, err)
		}
		m.BindToPort = wrapperspb.Bool(false)
		body := &anypb.Any{}
		if err := anypb.MarshalFrom(body, m, proto.MarshalOptions{Deterministic: true}); err != nil {
			return nil, fmt.Errorf("write listener %s: %w", l.Name, err)
		}
		out.Listeners = append(out.Listeners, &xdsgen.Resource{
			Type: l.Type, Name: l.Name, Version: l.Version, Body: body, Clusters: l.Clusters, Table: l.Table, Origins: l.Origins,
		})
	}
	return &out, nil
}

// Warnings are the different warnings that the Envoys have logged.
func (r *Rig) Warnings() []string {
	seen := map[string]bool{}
	for _, p := range r.proxies {
		for line := range strings.Lines(p.envoy.Log()) {
			if _, text, ok := strings.Cut(line, "[warning]"); ok {
				seen[strings.TrimSpace(text)] = true
			}
		}
	}
	var out []string
	for w := range seen {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

func last(s string, n int) string { return s[max(len(s)-n, 0):] }
