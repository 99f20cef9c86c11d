//go:build linux

package netnstest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// Gateway and Gateway6 are the node's addresses, which pods send everything to that is not their neighbour's.
const (
	Gateway  = "10.88.0.1"
	Gateway6 = "fd88::1"
)

// Pod is a network namespace. IP is its first address.
type Pod struct{ NS, IP string }

// Network is a node with pods. It goes with the test.
type Network struct {
	Node  Pod
	name  string // no other has it
	count int
}

// Need skips the test unless this machine lets it make pods and has the tools.
func Need(t *testing.T, tools ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range append([]string{"ip", "setpriv"}, tools...) {
		if _, err := exec.LookPath(tool); err != nil {
			envoytest.Missing(t, fmt.Errorf("network namespaces need %s: %w", tool, err))
		}
	}
	name := fmt.Sprintf("mz%d-try", os.Getpid())
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		envoytest.Missing(t, fmt.Errorf("network namespaces are not allowed here: %w: %s", err, out))
	}
	sh(t, "ip", "netns", "del", name)
}

func sh(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

// New makes a node.
func New(t *testing.T) *Network {
	t.Helper()
	name := fmt.Sprintf("mz%d-%06x", os.Getpid(), rand.IntN(1<<24))
	n := &Network{Node: Pod{name + "-node", Gateway}, name: name}
	n.Node.add(t)
	sh(t, "ip", "-n", n.Node.NS, "link", "add", "br0", "type", "bridge")
	n.Node.address(t, "br0", Gateway, Gateway6)
	sh(t, "ip", "-n", n.Node.NS, "link", "set", "br0", "up")
	return n
}

// add makes the namespace.
func (p Pod) add(t *testing.T) {
	sh(t, "ip", "netns", "add", p.NS)
	t.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", p.NS).Run()
		_ = os.RemoveAll(filepath.Join("/etc/netns", p.NS))
	})
	sh(t, "ip", "-n", p.NS, "link", "set", "lo", "up")
}

// address gives an interface addresses of the node's networks.
func (p Pod) address(t *testing.T, link string, all ...string) {
	t.Helper()
	for _, a := range all {
		command := []string{"ip", "-n", p.NS, "addr", "add", a + "/24", "dev", link}
		if is6(a) {
			command = []string{"ip", "-n", p.NS, "addr", "add", a + "/64", "dev", link, "nodad"} // nobody else has it
		}
		sh(t, command...)
	}
}

func is6(address string) bool { return strings.Contains(address, ":") }

// Pod makes a pod with an address of 10.88.0.0/24 or fd88::/64, and perhaps more of either. Names are looked up at the node's port 53.
func (n *Network) Pod(t *testing.T, name, ip string, more ...string) Pod {
	t.Helper()
	p := Pod{n.name + "-" + name, ip}
	p.add(t)
	n.count++
	far := fmt.Sprintf("veth%d", n.count)
	sh(t, "ip", "link", "add", "eth0", "netns", p.NS, "type", "veth", "peer", "name", far, "netns", n.Node.NS)
	sh(t, "ip", "-n", n.Node.NS, "link", "set", far, "master", "br0", "up")
	all := append([]string{ip}, more...)
	p.address(t, "eth0", all...)
	sh(t, "ip", "-n", p.NS, "link", "set", "eth0", "up")
	server := Gateway6
	if slices.ContainsFunc(all, is6) {
		sh(t, "ip", "-n", p.NS, "-6", "route", "add", "default", "via", Gateway6)
	}
	if slices.ContainsFunc(all, func(a string) bool { return !is6(a) }) {
		sh(t, "ip", "-n", p.NS, "route", "add", "default", "via", Gateway)
		server = Gateway
	}
	dir := filepath.Join("/etc/netns", p.NS)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	resolv := "nameserver " + server + "\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:1\n"
	if err := os.WriteFile(filepath.Join(dir, "resolv.conf"), []byte(resolv), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// Inside runs f on a thread in the pod's namespace: a socket stays in the namespace that it was made in.
func (p Pod) Inside(f func() error) error { return netns.Do(p.NS, f) }

// Dial connects as a process in the pod does; the address is no name.
func (p Pod) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = p.Inside(func() (err error) {
		c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Listen binds as a process in the pod does. It ends with the test.
func (p Pod) Listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := p.Inside(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// Client sends requests as a process in the pod does, each on a connection of its own.
func (p Pod) Client() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: p.Dial, DisableKeepAlives: true}}
}

// Command is a program in the pod, as a user and the group of that number.
func (p Pod) Command(ctx context.Context, uid int, command ...string) *exec.Cmd {
	id := fmt.Sprint(uid)
	return exec.CommandContext(ctx, "ip", append([]string{
		"netns", "exec", p.NS, "setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--",
	}, command...)...)
}
