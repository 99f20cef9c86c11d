package podnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// capturePort is where what leaves the pods' range comes to the hub.
const capturePort = 15006

// hub is the namespace of the bridge.
type hub struct {
	links  *netlink.Handle
	bridge int // index

	questions     net.PacketConn
	longQuestions net.Listener
	captured      net.Listener
}

// Supported says why this machine cannot have pods; nil if it can.
func Supported() error {
	if os.Geteuid() != 0 {
		return errors.New("isolate workloads by network namespaces: that needs root")
	}
	for _, b := range iptables.Backends() {
		if _, err := exec.LookPath(string(b)); err == nil {
			return nil
		}
	}
	return errors.New("isolate workloads by network namespaces: neither iptables nor nft is installed")
}

func openHub(n *Network, outside Dial) (*hub, error) {
	h := &hub{}
	ns, err := vnetns.GetFromName(n.name)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	if h.links, err = netlink.NewHandleAt(ns, unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	if err := h.connect(); err != nil {
		h.close()
		return nil, err
	}
	if err := netns.Do(n.name, func() error { return h.listen(n) }); err != nil {
		h.close()
		return nil, err
	}
	n.relay(h.captured, func(ctx context.Context, c net.Conn) (net.Conn, error) {
		to, err := originalTarget(c)
		if err != nil {
			return nil, err
		}
		if to.Addr().String() == Gateway {
			to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
		}
		return outside(ctx, to)
	})
	return h, nil
}

// connect makes the bridge, and gives the hub its addresses.
func (h *hub) connect() error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "pods", HardwareAddr: hardware(netip.MustParseAddr(Gateway))}}
	if err := h.links.LinkAdd(bridge); err != nil {
		return fmt.Errorf("make bridge: %w", err)
	}
	link, err := h.links.LinkByName("pods")
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	lo, err := h.links.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find loopback: %w", err)
	}
	h.bridge = link.Attrs().Index
	for _, a := range []struct {
		link    netlink.Link
		address string
	}{{link, fmt.Sprintf("%s/%d", Gateway, bits)}, {lo, DNS + "/32"}} {
		if err := addAddress(h.links, a.link, a.address); err != nil {
			return err
		}
	}
	return nil
}

// addAddress gives a link an address, and switches it on.
func addAddress(links *netlink.Handle, link netlink.Link, address string) error {
	if address != "" {
		a, err := netlink.ParseAddr(address)
		if err != nil {
			return fmt.Errorf("read address: %w", err)
		}
		if err := links.AddrAdd(link, a); err != nil {
			return fmt.Errorf("give %s address %s: %w", link.Attrs().Name, address, err)
		}
	}
	if err := links.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch %s on: %w", link.Attrs().Name, err)
	}
	return nil
}

// listen opens the hub's sockets, and has what leaves the pods' range come there. The thread is in the hub.
func (h *hub) listen(n *Network) (err error) {
	// Frames from pod to pod are no business of the rules that follow.
	for _, f := range []string{"iptables", "ip6tables"} {
		if err := os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-"+f, []byte("0"), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("keep the bridge from filtering: %w", err)
		}
	}
	if h.questions, err = net.ListenPacket("udp4", DNS+":53"); err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	if h.longQuestions, err = net.Listen("tcp4", DNS+":53"); err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	if h.captured, err = net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", capturePort)); err != nil {
		return fmt.Errorf("listen for what leaves: %w", err)
	}
	o := iptables.Defaults()
	o.InboundPort, o.InboundPorts, o.InboundExclude = capturePort, "*", "53"
	_, _, err = iptables.Applier{Backend: iptables.Auto, Families: []iptables.Family{iptables.IPv4}, Log: n.log}.Apply(n.ctx, o)
	return err
}

// attach puts a pod on the bridge.
func (h *hub) attach(p *Pod) error {
	ns, err := vnetns.GetFromName(p.Namespace)
	if err != nil {
		return fmt.Errorf("open network namespace: %w", err)
	}
	defer ns.Close()
	own := netip.MustParseAddr(p.IP)
	err = h.links.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: p.link(), MasterIndex: h.bridge, Flags: net.FlagUp}, PeerName: "eth0",
		PeerNamespace: netlink.NsFd(ns), PeerHardwareAddr: hardware(own),
	})
	if err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	links, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer links.Close()
	for name, address := range map[string]string{"lo": "", "eth0": fmt.Sprintf("%s/%d", p.IP, bits)} {
		link, err := links.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find link %s: %w", name, err)
		}
		if err := addAddress(links, link, address); err != nil {
			return err
		}
	}
	return addDefault(links)
}

// addDefault sends what is for nobody here to the hub.
func addDefault(links *netlink.Handle) error {
	_, all, err := net.ParseCIDR("0.0.0.0/0")
	if err != nil {
		return err
	}
	if err := links.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(Gateway)}); err != nil {
		return fmt.Errorf("add route: %w", err)
	}
	return nil
}

// detach takes a pod off the bridge, whatever still runs in it.
func (h *hub) detach(p *Pod) error {
	link, err := h.links.LinkByName(p.link())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = h.links.LinkDel(link)
	}
	if err != nil {
		return fmt.Errorf("remove link of %s: %w", p.key, err)
	}
	return nil
}

// link is the name of the pod's end on the bridge.
func (p *Pod) link() string { return fmt.Sprintf("pod%d", p.place) }

func (h *hub) close() {
	for _, c := range []interface{ Close() error }{h.questions, h.longQuestions, h.captured} {
		if c != nil {
			_ = c.Close()
		}
	}
	h.links.Close()
}

// asGroup runs f on this thread with another group: a socket is of the group that the thread has when it is made.
func asGroup(group int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	was, err := unix.SetfsgidRetGid(group)
	if err != nil {
		return fmt.Errorf("take group %d: %w", group, err)
	}
	defer func() { _ = unix.Setfsgid(was) }()
	return f()
}

// hardware is the address of a link with an IP address: the same for the same, so that who knew an earlier pod reaches the next.
func hardware(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}

// originalTarget is where a connection was going before it was redirected.
func originalTarget(c net.Conn) (to netip.AddrPort, err error) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return to, errors.New("find a connection's target: it is not TCP")
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return to, fmt.Errorf("find a connection's target: %w", err)
	}
	var got *unix.IPv6Mreq // large enough for a sockaddr_in, which is what comes
	var failed error
	if err := raw.Control(func(fd uintptr) {
		got, failed = unix.GetsockoptIPv6Mreq(int(fd), syscall.IPPROTO_IP, unix.SO_ORIGINAL_DST)
	}); err != nil {
		return to, fmt.Errorf("find a connection's target: %w", err)
	}
	if failed != nil {
		return to, fmt.Errorf("find a connection's target: %w", failed)
	}
	a := got.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), binary.BigEndian.Uint16(a[2:4])), nil
}
