package kube

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/mizzen-mesh/mizzen/controlplane/crd"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestDefinitions: every kind is there under every version and short name of Istio's.
func TestDefinitions(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	var words []string
	for _, k := range crd.Kinds() {
		for _, v := range k.Versions {
			words = append(words, k.Plural+"."+v+"."+k.Group)
		}
		words = append(words, k.Short...)
	}
	c.Kubectl(t, "", "get", strings.Join(words, ","), "-A") // fails if one of them is nothing
	c.Kubectl(t, "", "get", "istio-io", "-A")               // fails if no kind is in this category
}

// TestColumns: kubectl prints what it prints with Istio's definitions.
func TestColumns(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	ns := c.Namespace(t, "columns", nil)
	c.Kubectl(t, `
{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [shop.example, b], gateways: [gw], http: [{route: [{destination: {host: b}}]}]}}
---
{apiVersion: networking.istio.io/v1beta1, kind: DestinationRule, metadata: {name: a}, spec: {host: b}}
---
{apiVersion: networking.istio.io/v1alpha3, kind: Gateway, metadata: {name: a}, spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}, spec: {hosts: [a.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}}
---
{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: a}, spec: {address: 10.1.2.3}}
---
{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {mtls: {mode: STRICT}}}
---
{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: a}, spec: {action: DENY}}
---
{apiVersion: mizzen.dev/v1alpha1, kind: RateLimit, metadata: {name: a}, spec: {limits: [{requests: 5, per: minute}]}}
`, "apply", "-n", ns, "-f", "-")
	for kinds, want := range map[string]string{
		"vs": "NAME GATEWAYS HOSTS AGE\na [\"gw\"] [\"shop.example\",\"b\"] T\n",
		"dr": "NAME HOST AGE\na b T\n",
		"gw": "NAME AGE\na T\n",
		"se": "NAME HOSTS LOCATION RESOLUTION AGE\na [\"a.example\"] MESH_EXTERNAL DNS T\n",
		"we": "NAME AGE ADDRESS\na T 10.1.2.3\n",
		"pa": "NAME MODE AGE\na STRICT T\n",
		"ap": "NAME ACTION AGE\na DENY T\n",
		"rl": "NAME REQUESTS PER AGE\na 5 minute T\n",
		"vs,dr,gw": "NAME GATEWAYS HOSTS AGE\nvirtualservice.networking.istio.io/a [\"gw\"] [\"shop.example\",\"b\"] T\n\n" +
			"NAME HOST AGE\ndestinationrule.networking.istio.io/a b T\n\nNAME AGE\ngateway.networking.istio.io/a T\n",
	} {
		if got := columns(c.Kubectl(t, "", "get", kinds, "-n", ns)); got != want {
			t.Errorf("kubectl get %s prints\n%s\nwant\n%s", kinds, got, want)
		}
	}
}

// columns puts one blank between cells, and T for an age.
func columns(text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		cells := strings.Fields(l)
		for j, cell := range cells {
			if j > 0 && strings.Trim(cell, "0123456789ms") == "" && strings.HasSuffix(cell, "s") {
				cells[j] = "T"
			}
		}
		lines[i] = strings.Join(cells, " ")
	}
	return strings.Join(lines, "\n")
}

// TestUnknownField: kubectl, which asks for strict reading, is told of a field that there is none.
func TestUnknownField(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	_, errs, err := c.TryKubectl(t, `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a], htpp: []}}`, "create", "--dry-run=server", "-f", "-")
	if err == nil || !strings.Contains(errs, `strict decoding error: unknown field "spec.htpp"`) {
		t.Errorf("%v: %s", err, errs)
	}
}

// TestCorpus: whatever of the corpora's objects Decode takes, the API server takes, to the last field.
func TestCorpus(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	api := newDryRun(t, c)
	kinds := map[string]istio.Kind{}
	for _, k := range crd.Kinds() {
		kinds[k.Name] = k
	}
	sent := 0
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(8)
	for _, dir := range []string{"compile", "analyze"} {
		for _, f := range golden.Load(t, filepath.Join(envoytest.Root(), "controlplane", "testdata", dir)) {
			for _, file := range f.Archive.Files {
				if !strings.HasSuffix(file.Name, ".yaml") {
					continue
				}
				set, _ := istio.Decode(file.Name, strings.NewReader(string(file.Data)))
				for _, m := range set.Metas() {
					k, ok := kinds[m.Kind]
					if !ok || !strings.HasPrefix(m.APIVersion, k.Group+"/") {
						continue
					}
					sent++
					g.Go(func() error {
						if err := api.try(ctx, k, m.Raw); err != nil {
							t.Errorf("%s %s: %v\n%s", f.Path, m.Position, err, m.Raw)
						}
						return nil
					})
				}
			}
		}
	}
	_ = g.Wait() // the functions report themselves
	if sent < 200 {
		t.Errorf("only %d objects", sent)
	}
	t.Logf("%d objects", sent)
}

// dryRun asks an API server what it would say of objects.
type dryRun struct {
	client    dynamic.Interface
	namespace string
}

func newDryRun(t *testing.T, c *kubetest.Cluster) dryRun {
	config := rest.CopyConfig(c.Config(t))
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return dryRun{client, c.Namespace(t, "dry", nil)}
}

func (d dryRun) try(ctx context.Context, k istio.Kind, raw []byte) error {
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return err
	}
	u.SetNamespace(d.namespace)
	r := schema.GroupVersionResource{Group: k.Group, Version: u.GroupVersionKind().Version, Resource: k.Plural}
	_, err := d.client.Resource(r).Namespace(d.namespace).Create(ctx, u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
	return err
}
