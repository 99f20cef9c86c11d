package podnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	"github.com/mizzen-mesh/mizzen/internal/netns"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
)

// Pod is one network namespace.
type Pod struct {
	// Namespace is its name, as `ip netns` shows it.
	Namespace string
	// IP is its address.
	IP string

	key   string
	place int
	net   *Network
	mu    sync.Mutex
	open  []io.Closer
}

// Add makes a pod: a namespace with an address, and names that are looked up as in a pod of Kubernetes.
func (n *Network) Add(namespace, name string) (*Pod, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	place, err := n.take()
	if err != nil {
		return nil, fmt.Errorf("make pod %s: %w", name, err)
	}
	p := &Pod{Namespace: plan.FileName(n.name + "-" + name + "." + namespace), IP: address(place).String(), key: namespace + "/" + name, place: place, net: n}
	n.byKey[p.key] = p
	resolver := fmt.Sprintf("search %[1]s.svc.%[2]s svc.%[2]s %[2]s\nnameserver %[3]s\noptions ndots:5\n", namespace, Domain, DNS)
	if err := n.create(p.Namespace, resolver); err != nil {
		return p, fmt.Errorf("make pod %s: %w", name, err)
	}
	if err := n.hub.attach(p); err != nil {
		return p, fmt.Errorf("make pod %s: %w", name, err)
	}
	return p, nil
}

// Close removes the pod; its address may then be another's.
func (p *Pod) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	open := p.open
	p.open = nil
	p.mu.Unlock()
	for _, l := range open {
		_ = l.Close()
	}
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.net.byKey[p.key] != p {
		return nil
	}
	delete(p.net.byKey, p.key)
	delete(p.net.used, p.place)
	return errors.Join(p.net.hub.detach(p), netns.Delete(p.Namespace))
}

// Do runs f on a thread in the pod's network.
func (p *Pod) Do(f func() error) error { return netns.Do(p.Namespace, f) }

// Dial connects to "IP:port" as a process in the pod does.
func (p *Pod) Dial(ctx context.Context, to string) (net.Conn, error) {
	return dialIn(ctx, p.Namespace, to)
}

// Listen binds a port of the pod's loopback address over UDP and TCP, as a process of the sidecar's group does: what such a socket
// sends is not intercepted.
func (p *Pod) Listen(group int, port uint32) (packets net.PacketConn, stream net.Listener, err error) {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	err = p.Do(func() error {
		return asGroup(group, func() (err error) {
			if packets, err = net.ListenPacket("udp4", at); err != nil {
				return err
			}
			if stream, err = net.Listen("tcp4", at); err != nil {
				_ = packets.Close()
			}
			return err
		})
	})
	return packets, stream, err
}

// Expose makes a port of the pod's loopback address reachable at an address of the machine, until the pod is closed.
func (p *Pod) Expose(address string, port uint32) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("make port %d of %s reachable: %w", port, p.key, err)
	}
	p.keep(l)
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)).String()
	p.net.relay(l, func(ctx context.Context, _ net.Conn) (net.Conn, error) { return p.Dial(ctx, to) })
	return nil
}

// Keep closes what is given with the pod.
func (p *Pod) Keep(open ...io.Closer) {
	for _, c := range open {
		p.keep(c)
	}
}

// keep is Keep of one.
func (p *Pod) keep(l io.Closer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, l)
}

// dialIn connects from a namespace.
func dialIn(ctx context.Context, namespace, to string) (c net.Conn, err error) {
	err = netns.Do(namespace, func() (err error) {
		c, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp4", to)
		return err
	})
	return c, err
}
