package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// limit of the stripped binary, which every pod's node pulls.
const limit = 35 << 20

// TestSmall: the binary of users' pods stays small and free of what only servers and people need.
func TestSmall(t *testing.T) {
	deps, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("list dependencies: %v", err)
	}
	for _, dep := range strings.Fields(string(deps)) {
		for _, heavy := range []string{
			"k8s.io/", "sigs.k8s.io/controller", "helm.sh/", "github.com/tetratelabs/wazero", "github.com/redis/",
			"github.com/mizzen-mesh/mizzen/controlplane/istio", "github.com/mizzen-mesh/mizzen/controlplane/compile",
			"github.com/mizzen-mesh/mizzen/controlplane/xdsgen", "github.com/mizzen-mesh/mizzen/filters/host",
			"github.com/mizzen-mesh/mizzen/controlplane/envoyapi",
		} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("the agent depends on %s", dep)
			}
		}
	}
	if testing.Short() {
		t.Skip("building takes a while")
	}
	file := filepath.Join(t.TempDir(), "mizzen")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", file, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > limit {
		t.Errorf("the stripped binary has %d bytes, over %d", info.Size(), limit)
	}
	out, err := exec.Command(file, "iptables", "-i", "*", "-b", "*", "--dry-run", "--ipv6", "off").Output()
	if err != nil || !strings.Contains(string(out), "-A ISTIO_OUTPUT -j ISTIO_REDIRECT\n") {
		t.Errorf("mizzen iptables --dry-run: %v\n%s", err, out)
	}
	usage := exec.Command(file, "iptable")
	if out, _ := usage.CombinedOutput(); usage.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "did you mean iptables") {
		t.Errorf("a wrong command: %s\n%s", usage.ProcessState, out)
	}
}
