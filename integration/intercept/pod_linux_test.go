package intercept

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// proxyGroup is the group that Istio's rules leave alone: the sidecar's own traffic.
const proxyGroup = "1337"

// pod is a network namespace with one address, and a route to everything, as a pod's.
type pod struct{ ns, ip string }

// need skips the test unless this machine lets it make pods.
func need(t *testing.T) {
	t.Helper()
	envoytest.Find(t)
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "iptables", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			envoytest.Missing(t, fmt.Errorf("network namespaces need %s: %w", tool, err))
		}
	}
	name := fmt.Sprintf("mizzen-try-%d", os.Getpid())
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

// newPods makes two pods on one wire. They go with the test.
func newPods(t *testing.T) (client, server pod) {
	t.Helper()
	client = pod{fmt.Sprintf("mizzen-a-%d", os.Getpid()), "10.77.0.2"}
	server = pod{fmt.Sprintf("mizzen-b-%d", os.Getpid()), "10.77.0.3"}
	for _, p := range []pod{client, server} {
		sh(t, "ip", "netns", "add", p.ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", p.ns).Run() })
	}
	sh(t, "ip", "link", "add", "eth0", "netns", client.ns, "type", "veth", "peer", "name", "eth0", "netns", server.ns)
	for _, p := range []pod{client, server} {
		sh(t, "ip", "-n", p.ns, "addr", "add", p.ip+"/24", "dev", "eth0")
		sh(t, "ip", "-n", p.ns, "link", "set", "lo", "up")
		sh(t, "ip", "-n", p.ns, "link", "set", "eth0", "up")
		sh(t, "ip", "-n", p.ns, "route", "add", "default", "dev", "eth0") // service addresses lie outside of the network
		p.redirect(t)
	}
	return client, server
}

// redirect is what Istio's init container does: out to 15001, in to 15006, but for the proxy's own traffic, and the
// control plane's port, which in a cluster belongs to a pod without a sidecar. The proxy's calls to its own pod's address
// come in again as anyone's; those from 127.0.0.6, its inbound listener's, reach the application.
func (p pod) redirect(t *testing.T) {
	t.Helper()
	for _, rule := range []string{
		"PREROUTING -p tcp --dport " + xdsPort + " -j RETURN",
		"PREROUTING -p tcp -j REDIRECT --to-ports 15006",
		"OUTPUT -p tcp -s 127.0.0.6/32 -o lo -j RETURN",
		"OUTPUT -p tcp -o lo ! -d 127.0.0.1/32 ! --dport " + xdsPort + " -m owner --gid-owner " + proxyGroup + " -j REDIRECT --to-ports 15006",
		"OUTPUT -p tcp -o lo -m owner ! --gid-owner " + proxyGroup + " -j RETURN",
		"OUTPUT -p tcp -m owner --gid-owner " + proxyGroup + " -j RETURN",
		"OUTPUT -p tcp -d 127.0.0.1/32 -j RETURN",
		"OUTPUT -p tcp -j REDIRECT --to-ports 15001",
	} {
		sh(t, append([]string{"ip", "netns", "exec", p.ns, "iptables", "-w", "-t", "nat", "-A"}, strings.Fields(rule)...)...)
	}
}

// inside runs f on a thread in the pod's namespace: a socket stays in the namespace that it was made in.
func (p pod) inside(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := os.Open(filepath.Join("/var/run/netns", p.ns))
		if err != nil {
			done <- fmt.Errorf("open namespace: %w", err)
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// dial connects as a process in the pod does.
func (p pod) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = p.inside(func() (err error) {
		c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// listen binds as a process in the pod does. It ends with the test.
func (p pod) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var l net.Listener
	if err := p.inside(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// client sends requests as a process in the pod does.
func (p pod) client(t *testing.T) *http.Client {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: p.dial}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// envoy starts the pod's sidecar.
func (p pod) envoy(t *testing.T, config []byte) {
	t.Helper()
	dir := t.TempDir()
	file, logFile := filepath.Join(dir, "envoy.json"), filepath.Join(dir, "log")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(logFile)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", p.ns, "setpriv", "--regid", proxyGroup, "--clear-groups", "--",
		envoytest.Find(t), "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
	cmd.Env = append(os.Environ(), "ENVOY_DYNAMIC_MODULES_SEARCH_PATH="+filepath.Dir(envoytest.Module(t)))
	cmd.Stdout, cmd.Stderr = log, log
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the wheel's Envoy ends with the thread that started it
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		_ = cmd.Wait()
		close(ended)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		log.Close()
		if b, err := os.ReadFile(logFile); err == nil && (t.Failed() || strings.Contains(string(b), "rejected")) {
			t.Errorf("the Envoy of %s said:\n%s", p.ip, b)
		}
	})
}
