package podnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"

	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// Addresses within the network.
const (
	// Gateway is the hub's own: there, pods reach what listens on the machine's 127.0.0.1.
	Gateway = "10.244.0.1"
	// DNS is where the pods' /etc/resolv.conf points, as in a cluster.
	DNS = "10.96.0.10"
	// Services is the range that services without an address of their own are given one of.
	Services = "10.96.0.0/16"
	// Domain ends the names of services.
	Domain = "cluster.local"
	// HostName is the name of Gateway.
	HostName = "host.mizzen.internal"

	bits  = 16
	first = 10 // last part of the first pod's address: those below are the mesh's own
)

// Network of one mesh.
type Network struct {
	name   string // of the hub's namespace
	mark   string // first line of resolv.conf: whose it is
	log    *slog.Logger
	hub    *hub
	relays sync.WaitGroup
	ctx    context.Context // of all relays
	end    context.CancelFunc

	mu    sync.Mutex
	byKey map[string]*Pod
	used  map[int]bool
}

// Dial connects to what a pod asked for: an address outside of the pods' range, as the machine.
type Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

// Open makes an empty network, and removes those that dead meshes left. outside connects what is neither a pod nor the hub; log is not
// nil.
func Open(outside Dial, log *slog.Logger) (*Network, error) {
	if err := Supported(); err != nil {
		return nil, err
	}
	if err := removeStale(log); err != nil {
		return nil, err
	}
	n := &Network{
		name: prefix + strconv.Itoa(os.Getpid()), mark: mark(os.Getpid()), log: log, byKey: map[string]*Pod{}, used: map[int]bool{},
	}
	n.ctx, n.end = context.WithCancel(context.Background())
	if err := n.create(n.name, ""); err != nil {
		return n, err
	}
	var err error
	if n.hub, err = openHub(n, outside); err != nil {
		return n, fmt.Errorf("make the pods' network: %w", err)
	}
	return n, nil
}

// create makes a namespace that says whose it is. The mark comes first: who looks for what dead meshes left must find it.
func (n *Network) create(name, resolver string) error {
	if err := netns.SetResolver(name, n.mark+resolver); err != nil {
		return err
	}
	return netns.Create(name)
}

// Close removes the network. What runs in it must have ended.
func (n *Network) Close() error {
	n.end()
	n.mu.Lock()
	pods := make([]*Pod, 0, len(n.byKey))
	for _, p := range n.byKey {
		pods = append(pods, p)
	}
	n.mu.Unlock()
	var errs []error
	for _, p := range pods {
		errs = append(errs, p.Close())
	}
	if n.hub != nil {
		n.hub.close()
	}
	n.relays.Wait()
	return errors.Join(append(errs, netns.Delete(n.name))...)
}

// Hub listens for questions to the DNS server of the network.
func (n *Network) Hub() (net.PacketConn, net.Listener) { return n.hub.questions, n.hub.longQuestions }

// DialPod connects to a pod as its node would.
func (n *Network) DialPod(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return dialIn(ctx, n.name, to.String())
}

// DialHub connects to the mesh's own addresses, past any pod's interception.
func (n *Network) DialHub(ctx context.Context, network, to string) (c net.Conn, err error) {
	err = netns.Do(n.name, func() (err error) {
		c, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, to)
		return err
	})
	return c, err
}

// Find is the address of a pod, by "namespace/name".
func (n *Network) Find(key string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.byKey[key]
	if p == nil {
		return netip.Addr{}, false
	}
	return address(p.place), true
}

// take reserves the lowest free address.
func (n *Network) take() (int, error) {
	for i := first; i < 1<<(32-bits)-2; i++ {
		if last := i & 0xff; !n.used[i] && last != 0 && last != 0xff {
			n.used[i] = true
			return i, nil
		}
	}
	return 0, errors.New("no address is free")
}

// address of a place in the range.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)})
}
