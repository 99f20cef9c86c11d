package cluster

import (
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
)

// canary installs the revision as `helm upgrade --install --wait` does with the chart of the repository's folder.
func (n *node) canary(t *testing.T, set string) {
	t.Helper()
	flags, file, namespace := genericclioptions.NewConfigFlags(false), n.admin(), "istio-system"
	flags.KubeConfig, flags.Namespace = &file, &namespace
	flags.WrapConfigFn = func(c *rest.Config) *rest.Config { c.Dial = n.dial; return c }
	var helm action.Configuration
	if err := helm.Init(flags, namespace, "secret", func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
	c, err := loader.Load(filepath.Join(n.root, "charts", "mizzen"))
	if err != nil {
		t.Fatal(err)
	}
	values, err := strvals.Parse("profile=demo,global.tag=test,global.imagePullPolicy=Never,ratelimit.enabled=false,revision=canary," + set)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = helm.Releases.Last("mizzen-canary"); err == nil {
		u := action.NewUpgrade(&helm)
		u.Namespace, u.Wait, u.Timeout = namespace, true, patience
		_, err = u.RunWithContext(t.Context(), "mizzen-canary", c, values)
	} else {
		i := action.NewInstall(&helm)
		i.ReleaseName, i.Namespace, i.Wait, i.Timeout = "mizzen-canary", namespace, true, patience
		_, err = i.RunWithContext(t.Context(), c, values)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// injectedBy waits until pods of a namespace are the revision's.
func injectedBy(t *testing.T, n *node, namespace, revision string) {
	t.Helper()
	const pod = "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: app, image: app}]}}"
	await(t, "pods of "+namespace+" are revision "+revision+"'s", func() string {
		return n.run(t, pod, "scripts/node", "kubectl", "create", "-n", namespace, "--dry-run=server", "-o", `jsonpath={.metadata.annotations.sidecar\.istio\.io/status}`, "-f", "-")
	}, func(s string) bool { return strings.Contains(s, `"revision":"`+revision+`"`) })
}

// testRevision: a second control plane beside the first, Helm's, takes the namespace over by a tag, under load, and gives the tag back.
func testRevision(t *testing.T, n *node) {
	n.canary(t, "revisionTags={prod,default}")
	injectedBy(t, n, "shop", "canary") // which is labelled istio-injection
	n.kubectl(t, "label", "namespace", "outside", "istio.io/rev=canary")
	injectedBy(t, n, "outside", "canary")
	n.kubectl(t, "label", "namespace", "outside", "istio.io/rev-")
	stop := n.load(t, n.gateway(t))
	n.kubectl(t, "label", "namespace", "shop", "istio-injection-", "istio.io/rev=prod")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy")
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	spec := func() string {
		return n.kubectl(t, "get", "pods", "-n", "shop", "-l", "app=customer", "-o", "jsonpath={.items[0].spec}")
	}
	if got := spec(); !strings.Contains(got, "mizzen-controlplane-canary.istio-system.svc:15012") {
		t.Errorf("the pods are not the canary's: %s", got)
	}
	n.apply(t, routes("  - route: [{destination: {host: recommendation, subset: v2}}]\n")) // which the canary serves
	settles(t, n, v2)
	n.remove(t, routes("  - route: [{destination: {host: recommendation}}]\n"))
	await(t, "the canary's validating webhook closes", func() string {
		return n.kubectl(t, "get", "validatingwebhookconfiguration", "mizzen-validator-canary", "-o", "jsonpath={.webhooks[*].failurePolicy}")
	}, func(s string) bool { return s == "Fail Fail" })
	n.install(t, "--set", "revisionTags={prod}")
	n.canary(t, "revisionTags={}")
	injectedBy(t, n, "shop", "default")
	n.kubectl(t, "rollout", "restart", "-n", "shop", "deploy")
	n.rolled(t, "shop")
	ready(t, n, "shop", 2)
	if got := spec(); !strings.Contains(got, "mizzen-controlplane.istio-system.svc:15012") {
		t.Errorf("the pods are not the first control plane's: %s", got)
	}
	n.mizzen(t, "uninstall", "--revision", "canary")
	unharmed(t, stop)
	n.kubectl(t, "label", "namespace", "shop", "istio-injection=enabled", "istio.io/rev-")
}
