package kubetest

import (
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Definitions installs the chart's CustomResourceDefinitions and waits until they are established, once in a cluster's life.
func (c *Cluster) Definitions(t testing.TB) {
	t.Helper()
	c.defining.Lock()
	defer c.defining.Unlock()
	if c.defined {
		return
	}
	dir := filepath.Join(envoytest.Root(), "charts", "mizzen", "crds")
	c.Kubectl(t, "", "apply", "--server-side", "-f", dir)
	c.Kubectl(t, "", "wait", "--for=condition=established", "--timeout="+readyLimit.String(), "-f", dir)
	c.defined = true
}
