package kube

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/mizzen-mesh/mizzen/installer"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// TestHelm: Helm installs the chart as it lies in the repository, kinds and all; it and mizzen install take turns with one release; the text of a
// dry run is applied twice, over the release, too; and mizzen uninstall takes away what Helm leaves.
func TestHelm(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	flags, file, namespace := genericclioptions.NewConfigFlags(false), c.Kubeconfig(), "istio-system"
	flags.KubeConfig, flags.Namespace = &file, &namespace
	var helm action.Configuration
	if err := helm.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	chart, err := loader.Load(filepath.Join(envoytest.Root(), "charts", "mizzen"))
	if err != nil {
		t.Fatal(err)
	}
	i := action.NewInstall(&helm)
	i.ReleaseName, i.Namespace, i.CreateNamespace = "mizzen", namespace, true
	if _, err := i.RunWithContext(t.Context(), chart, map[string]any{}); err != nil {
		t.Fatal(err)
	}
	definitions := func() int {
		return strings.Count(c.Kubectl(t, "", "get", "crd", "-o", "name"), "customresourcedefinition")
	}
	if n := definitions(); n != 16 {
		t.Errorf("helm install makes %d kinds", n)
	}
	var out bytes.Buffer
	o := func(values map[string]any) installer.Options {
		return installer.Options{Kubeconfig: file, Namespace: namespace, Values: values, Out: &out, Log: slog.New(slog.DiscardHandler)}
	}
	if err := installer.Install(t.Context(), o(map[string]any{"profile": "demo"})); err != nil {
		t.Fatalf("mizzen install after helm install: %v", err)
	}
	u := action.NewUpgrade(&helm)
	u.Namespace = namespace
	r, err := u.RunWithContext(t.Context(), "mizzen", chart, map[string]any{"profile": "minimal"})
	if err != nil || r.Version != 3 {
		t.Fatalf("helm upgrade after mizzen install: %v, version %d", err, r.Version)
	}
	out.Reset()
	if err := installer.Render(t.Context(), o(map[string]any{"validation": map[string]any{"failurePolicy": "Fail"}})); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	c.Kubectl(t, text, "apply", "--server-side", "--force-conflicts", "-f", "-")
	c.Kubectl(t, text, "apply", "--server-side", "-f", "-")
	if got := c.Kubectl(t, "", "get", "validatingwebhookconfiguration", "mizzen-validator", "-o", "jsonpath={.webhooks[*].failurePolicy}"); got != "Fail" {
		t.Errorf("failurePolicy %s", got)
	}
	if _, err := action.NewUninstall(&helm).Run("mizzen"); err != nil {
		t.Fatal(err)
	}
	if n := definitions(); n != 16 {
		t.Errorf("helm uninstall leaves %d kinds", n)
	}
	if err := installer.Uninstall(t.Context(), o(nil), true); err != nil {
		t.Fatal(err)
	}
	if n := definitions(); n != 0 {
		t.Errorf("mizzen uninstall --purge leaves %d kinds", n)
	}
}
