package intercept

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/injector/iptables"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

// proxyUser is whom Istio's rules leave alone: the sidecar.
const proxyUser = 1337

// newPods makes a node and two pods on it, whose traffic is intercepted. They go with the test.
func newPods(t *testing.T) (node, client, server netnstest.Pod) {
	t.Helper()
	netnstest.Need(t, "iptables")
	envoytest.Find(t)
	n := netnstest.New(t)
	client, server = n.Pod(t, "client", "10.88.0.2"), n.Pod(t, "server", "10.88.0.3")
	o := iptables.Defaults()
	o.InboundPorts, o.OutboundRanges = "*", "*"
	a := iptables.Applier{Backend: iptables.Default, Families: []iptables.Family{iptables.IPv4}, Log: slog.New(slog.DiscardHandler)}
	for _, p := range []netnstest.Pod{client, server} {
		if err := p.Inside(func() error { _, _, err := a.Apply(context.Background(), o); return err }); err != nil {
			t.Fatal(err)
		}
	}
	return n.Node, client, server
}

// envoy starts a pod's sidecar, which must not reject anything.
func envoy(t *testing.T, p netnstest.Pod, config []byte) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mz-intercept-") // the proxy's user cannot look into the test's own
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "envoy.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{dir, file} {
		if err := os.Chown(f, proxyUser, proxyUser); err != nil {
			t.Fatal(err)
		}
	}
	x := p.Start(t, "the Envoy of "+p.IP, proxyUser, []string{"ENVOY_DYNAMIC_MODULES_SEARCH_PATH=" + filepath.Dir(envoytest.Module(t)), "GODEBUG=cgocheck=0"},
		envoytest.Find(t), "-c", file, "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
	t.Cleanup(func() {
		if log := x.Log(); strings.Contains(log, "rejected") {
			t.Errorf("the Envoy of %s said:\n%s", p.IP, log)
		}
	})
}
