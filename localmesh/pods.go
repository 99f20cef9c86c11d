package localmesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/nds"
	"github.com/mizzen-mesh/mizzen/injector/dns"
	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
)

// pods is what a mesh has whose workloads have network namespaces of their own: their network, and a DNS server in each, as a sidecar's
// agent has one, and one for all, as a cluster has.
type pods struct {
	net     *podnet.Network
	cluster *dns.Server
	conn    *grpc.ClientConn // to the control plane; nil before it is up
	ctx     context.Context
	end     context.CancelFunc
	running sync.WaitGroup
	// names are Services by their virtual address, and routes where their ports lead: what kube-proxy knows.
	names  atomic.Pointer[map[netip.Addr]serviceName]
	routes atomic.Pointer[map[serviceName]plan.Backends]
}

// serviceName names a Service.
type serviceName struct{ namespace, name string }

// openPods makes the network of a mesh with isolation netns; nil for others.
func (m *mesh) openPods() error {
	if m.o.Isolation != IsolationNetns {
		return nil
	}
	p := &pods{}
	p.ctx, p.end = context.WithCancel(context.Background())
	m.pods = p
	var err error
	if p.net, err = podnet.Open(p.outside, m.o.Log); err != nil {
		return err
	}
	machine, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the machine's name servers: %w", err)
	}
	p.cluster = dns.New(dns.Options{Upstreams: dns.Resolvers(string(machine)), Suffix: podnet.Domain, Log: m.o.Log})
	questions, long := p.net.Hub()
	p.serve(m, p.cluster, questions, long)
	return nil
}

// serve answers questions until the mesh ends, or the sockets are closed.
func (p *pods) serve(m *mesh, s *dns.Server, questions net.PacketConn, long net.Listener) {
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		if err := s.Serve(p.ctx, questions, long); err != nil && !errors.Is(err, net.ErrClosed) {
			m.o.Log.Warn("DNS ended", "error", err)
		}
	}()
}

// close removes the network. What ran in it has ended.
func (p *pods) close() error {
	if p == nil {
		return nil
	}
	p.end()
	var err error
	if p.net != nil {
		err = p.net.Close()
	}
	if p.conn != nil {
		err = errors.Join(err, p.conn.Close())
	}
	p.running.Wait()
	return err
}

// follow asks the control plane for names, once it is up: those of the cluster here.
func (p *pods) follow(m *mesh) error {
	if p == nil {
		return nil
	}
	var err error
	if p.conn, err = grpc.NewClient(m.cp.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy()); err != nil {
		return fmt.Errorf("connect to control plane: %w", err)
	}
	node := &corev3.Node{Id: nodeID("sidecar", podnet.Gateway, "dns", "kube-system")}
	p.followAs(p.ctx, m, node, p.takeCluster)
	return nil
}

// followAs follows the names that a proxy may know.
func (p *pods) followAs(ctx context.Context, m *mesh, node *corev3.Node, set func(nds.Table)) {
	p.running.Add(1)
	go func() { defer p.running.Done(); dns.Follow(ctx, p.conn, node, set, m.o.Log) }()
}

// takeCluster takes the Services of a table for the DNS server of the cluster: it knows no hosts of ServiceEntries, as a cluster's does
// not, for the proxies ask it where these really are.
func (p *pods) takeCluster(t nds.Table) {
	own, names := nds.Table{podnet.HostName: {Addresses: []string{podnet.Gateway}}}, map[netip.Addr]serviceName{}
	for host, e := range t {
		if e.Registry != nds.Kubernetes {
			continue
		}
		own[host] = e
		for _, a := range e.Addresses {
			if ip, err := netip.ParseAddr(a); err == nil {
				names[ip] = serviceName{e.Namespace, e.ShortName}
			}
		}
	}
	p.names.Store(&names)
	p.cluster.Set(own)
}

// route takes note of where Services lead.
func (m *mesh) route(p plan.Plan) {
	if m.pods == nil {
		return
	}
	routes := map[serviceName]plan.Backends{}
	for _, b := range p.Services {
		routes[serviceName{b.Namespace, b.Name}] = b
	}
	m.pods.routes.Store(&routes)
}

// outside connects what leaves the pods' range: to a pod behind a virtual address, as kube-proxy does, or from the machine.
func (p *pods) outside(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	names, routes := p.names.Load(), p.routes.Load()
	if names == nil || routes == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	}
	name, ok := (*names)[to.Addr()]
	if !ok {
		return (&net.Dialer{}).DialContext(ctx, "tcp", to.String())
	}
	var last error = errors.New("the service has no pod at this port")
	all := slices.Clone((*routes)[name].Ports[uint32(to.Port())])
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, b := range all {
		ip, ok := p.net.Find(b.Pod)
		if !ok {
			continue
		}
		c, err := p.net.DialPod(ctx, netip.AddrPortFrom(ip, uint16(b.Port)))
		if err == nil {
			return c, nil
		}
		last = err
	}
	return nil, fmt.Errorf("connect to service %s of %s: %w", name.name, name.namespace, last)
}

// reach is an address of the machine's loopback as pods reach it.
func (m *mesh) reach(address string) string {
	if m.pods == nil {
		return address
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return net.JoinHostPort(podnet.Gateway, port)
}

// proxyGroup is the group whose traffic is not intercepted: Envoy's.
const proxyGroup = 1337

// dnsPort is where a sidecar's agent answers questions.
const dnsPort = 15053

// newPod makes the workload's namespace, with interception before its sidecar.
func (m *mesh) newPod(w *workload) (err error) {
	if w.pod, err = m.pods.net.Add(w.plan.Namespace, w.plan.Name); err != nil {
		return err
	}
	names := m.pods.cluster
	if w.plan.Sidecar {
		if names, err = m.intercept(w); err != nil {
			return fmt.Errorf("intercept the traffic of %s: %w", w.plan.Name, err)
		}
		if err := w.pod.Expose(w.address(portAdmin), portAdmin); err != nil {
			return err
		}
	}
	return w.pod.ServeProxy(w.address(portProxy), func(ctx context.Context, name string) ([]netip.Addr, error) {
		return names.Lookup(ctx, name, w.plan.Namespace, podnet.Domain)
	})
}

// intercept leads the pod's traffic through its sidecar, and its questions to a DNS server of its own.
func (m *mesh) intercept(w *workload) (*dns.Server, error) {
	w.dns = dns.New(dns.Options{
		Namespace: w.plan.Namespace, Upstreams: []string{podnet.DNS + ":53"}, Dial: m.pods.net.DialHub, Log: m.o.Log,
	})
	questions, long, err := w.pod.Listen(proxyGroup, dnsPort)
	if err != nil {
		return nil, err
	}
	w.pod.Keep(questions, long)
	m.pods.serve(m, w.dns, questions, long)
	return w.dns, w.pod.Do(func() error {
		a := iptables.Applier{Backend: iptables.Auto, Families: []iptables.Family{iptables.IPv4}, Log: m.o.Log}
		_, _, err := a.Apply(m.pods.ctx, interception(w.plan))
		return err
	})
}

// interception are the options that the injector gives istio-init.
func interception(w *plan.Workload) iptables.Options {
	get := func(name, otherwise string) string {
		if v, ok := w.Annotations["traffic.sidecar.istio.io/"+name]; ok {
			return strings.ReplaceAll(v, " ", "")
		}
		return otherwise
	}
	o := iptables.Defaults()
	o.InboundPorts, o.OutboundRanges = get("includeInboundPorts", "*"), get("includeOutboundIPRanges", "*")
	o.InboundExclude = strings.Trim("15090,15021,15020,"+get("excludeInboundPorts", ""), ",")
	o.OutboundExclude = get("excludeOutboundIPRanges", "")
	o.OutboundPorts, o.OutboundPortsExclude = get("includeOutboundPorts", ""), get("excludeOutboundPorts", "")
	o.RedirectDNS, o.DNSPort, o.DNSServers = true, dnsPort, []netip.Addr{netip.MustParseAddr(podnet.DNS)}
	return o
}

// followNames has the pod's DNS server know what its proxy may know, until the workload ends.
func (m *mesh) followNames(w *workload, id string) error {
	if w.dns == nil || w.endNames != nil {
		return nil
	}
	labels := map[string]any{}
	for k, v := range w.plan.Labels {
		labels[k] = v
	}
	md, err := structpb.NewStruct(map[string]any{"NAMESPACE": w.plan.Namespace, "LABELS": labels})
	if err != nil {
		return fmt.Errorf("follow names for %s: %w", w.plan.Name, err)
	}
	ctx, end := context.WithCancel(m.pods.ctx)
	w.endNames = end
	m.pods.followAs(ctx, m, &corev3.Node{Id: id, Metadata: md}, w.dns.Set)
	return nil
}

// standinArgs start a workload's stand-in as a program of its own.
func standinArgs(w *plan.Workload) []string {
	args := []string{"standin", "--service", w.Service(), "--version", w.Version(), "--instance", w.Name, "--log-level", "warn", "--drain", "0s"}
	for _, p := range w.Ports {
		flag := "--ports"
		if p.TCP {
			flag = "--tcp-ports"
		}
		args = append(args, flag, fmt.Sprint(p.Number))
	}
	if len(w.Calls) > 0 {
		args = append(args, "--calls", strings.Join(w.Calls, ","))
	}
	if len(w.Forward) > 0 {
		args = append(args, "--forward", strings.Join(w.Forward, ","))
	}
	return args
}

// newGatewayPod makes a gateway's namespace. Its Envoy binds the ports there that are the machine's here.
func (m *mesh) newGatewayPod(g *gateway) (err error) {
	if g.pod, err = m.pods.net.Add(g.plan.Namespace, g.plan.PodName()); err != nil {
		return err
	}
	return g.pod.Expose(net.JoinHostPort(g.address, fmt.Sprint(g.admin)), g.admin)
}

// expose makes the gateway's ports reachable on the machine.
func (g *gateway) expose() error {
	if g.pod == nil {
		return nil
	}
	for _, server := range g.plan.Ports {
		port := g.bound(server)
		if slices.Contains(g.exposed, port) {
			continue
		}
		if err := g.pod.Expose(net.JoinHostPort(g.address, fmt.Sprint(port)), port); err != nil {
			return err
		}
		g.exposed = append(g.exposed, port)
	}
	return nil
}

// podIP is the gateway's address in the mesh.
func (g *gateway) podIP() string {
	if g.pod == nil {
		return g.address
	}
	return cmp.Or(g.pod.IP, g.address)
}
