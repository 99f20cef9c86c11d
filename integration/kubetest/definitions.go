package kubetest

import (
	"path/filepath"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Definitions installs the chart's CustomResourceDefinitions and waits until they are established. Doing it again does no harm.
func (c *Cluster) Definitions(t testing.TB) {
	t.Helper()
	dir := filepath.Join(envoytest.Root(), "charts", "mizzen", "crds")
	c.Kubectl(t, "", "apply", "--server-side", "-f", dir)
	c.Kubectl(t, "", "wait", "--for=condition=established", "--timeout="+readyLimit.String(), "-f", dir)
}
