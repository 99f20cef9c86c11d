// Package kubetest runs a real etcd and a real kube-apiserver in tests: on a loopback address of their own, with RBAC, service
// account tokens and an administrator. Without their binaries (scripts/kube api builds them) it skips the test and says why; with
// MIZZEN_REQUIRE=1 in the environment it fails instead. No controllers run: nothing makes service accounts, endpoints or pods of
// anything, and a namespace that is deleted stays "Terminating".
package kubetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Binaries returns the folder with etcd, kube-apiserver and kubectl: MIZZEN_KUBE_BIN, else the one that scripts/kube made.
func Binaries() (string, error) {
	dir := os.Getenv("MIZZEN_KUBE_BIN")
	if dir == "" {
		built, err := filepath.Glob(filepath.Join(envoytest.Root(), ".cache", "kube", "*"))
		if err != nil || len(built) == 0 {
			return "", errors.New("no kube-apiserver: set MIZZEN_KUBE_BIN to what `scripts/kube api` prints")
		}
		slices.Sort(built)
		dir = built[len(built)-1]
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("find the parts of Kubernetes: %w; `scripts/kube api` builds them", err)
		}
	}
	return dir, nil
}

// Package is one cluster for all tests of a package: its TestMain calls Run, its tests call Cluster. The zero value starts a cluster
// without further flags; it is started when the first test asks for it.
type Package struct {
	// Flags are Options.Flags.
	Flags []string

	once    sync.Once
	cluster *Cluster
	err     error
}

// Run runs the tests, ends the cluster, and returns what to exit with.
func (p *Package) Run(m *testing.M) int {
	code := m.Run()
	if p.cluster != nil {
		p.cluster.Stop()
		if code != 0 {
			fmt.Fprintln(os.Stderr, p.cluster.Tail())
		}
		_ = os.RemoveAll(p.cluster.dir)
	}
	return code
}

// Cluster returns the package's cluster.
func (p *Package) Cluster(t testing.TB) *Cluster {
	t.Helper()
	p.once.Do(func() { p.cluster, p.err = p.launch() })
	if errors.Is(p.err, errMissing) {
		envoytest.Missing(t, p.err)
	}
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.cluster
}

var errMissing = errors.New("parts of Kubernetes are missing")

func (p *Package) launch() (*Cluster, error) {
	bin, err := Binaries()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	dir, err := os.MkdirTemp("", "mizzen-kubetest-")
	if err != nil {
		return nil, fmt.Errorf("make the cluster's folder: %w", err)
	}
	c, err := Launch(bin, dir, Options{Flags: p.Flags})
	if err != nil {
		_ = os.RemoveAll(dir)
	}
	return c, err
}
