package localmesh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// Workloads in network namespaces: an ordinary client finds services by their names and goes through both sidecars, and nothing is
// left of the mesh.
func TestNetns(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, tool := range []string{"ip", "iptables", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			envoytest.Missing(t, fmt.Errorf("network namespaces need %s: %w", tool, err))
		}
	}
	m := meshtest.Start(t, "../../examples/shop", meshtest.Options{Args: []string{"--isolation", "netns"}})
	ns := ""
	for _, w := range m.Ready.Workloads {
		if w.Name == "storefront-v1-0" {
			ns = w.Netns
		}
	}
	for _, host := range []string{"catalog", "catalog.default", "catalog.default.svc.cluster.local"} {
		t.Run(host, func(t *testing.T) {
			meshtest.Eventually(t, "curl finds the service", func() bool {
				out := inside(t, ns, "curl", "-sS", "-m", "10", "-i", "http://"+host+":8080/")
				return strings.Contains(out, "catalog v") && strings.Contains(out, "=> stock v1") && strings.Contains(out, "x-envoy-upstream-service-time")
			})
		})
	}
	if n := m.Stat(t, "storefront-v1-0", `^cluster\.outbound\|8080\|\|catalog\..*upstream_rq_completed$`); n == 0 {
		t.Error("the client's sidecar has sent nothing")
	}
	if n := m.Stat(t, "stock-v1-0", `^cluster\.inbound\|8080.*upstream_rq_completed$`); n == 0 {
		t.Error("the server's sidecar has got nothing")
	}
	if a := m.From(t, "storefront-v1-0").Must(t, "http://catalog:8080/"); a.Code != 200 || !strings.HasPrefix(a.Body, "catalog v") {
		t.Errorf("as the workload: %d %s", a.Code, a.Body)
	}
	if a := m.ViaGateway().Must(t, "/"); a.Code != 200 || !strings.HasPrefix(a.Body, "storefront v1") {
		t.Errorf("through the gateway: %d %s", a.Code, a.Body)
	}
	if out, err := exec.Command("ip", "link", "show", "pods").CombinedOutput(); err == nil {
		t.Errorf("the bridge is in the machine's namespace: %s", out)
	}
	m.Stop(t)
	if left, err := netns.Names(fmt.Sprintf("mizzen-%d", m.Pid())); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// inside runs a program in a namespace and returns what it printed.
func inside(t *testing.T, ns string, command ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, command...)...).CombinedOutput()
	return string(out)
}
