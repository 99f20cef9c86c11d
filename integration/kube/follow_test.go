package kube

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// placed fills in a text's namespace.
func placed(ns, text string) string { return strings.ReplaceAll(text, "NS", ns) }

// TestBrokenObjectStays: an object that an edit breaks stays as it was, with diagnostics that name it and no file, until it is mended.
func TestBrokenObjectStays(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	ns, client := c.Namespace(t, "broken", nil), dynamicClient(t, c)
	f := follow(t, c, kube.Options{})
	rule := func(timeout string) {
		apply(t, client, placed(ns, "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: NS}, spec: {hosts: [a], http: [{timeout: "+timeout+", route: [{destination: {host: a}}]}]}}"))
	}
	rule("3s")
	await(t, "the rule is there", func() bool { return strings.Contains(f.of("VirtualService", ns, "a"), "3s") })
	told := func() string {
		_, ds, _ := f.now()
		var b strings.Builder
		for _, d := range ds {
			if d.Object.Namespace == ns {
				b.WriteString(d.String() + "\n")
			}
		}
		return b.String()
	}
	rule("1us")
	await(t, "the mistake is told", func() bool { return told() != "" })
	if is := f.of("VirtualService", ns, "a"); !strings.Contains(is, "3s") {
		t.Errorf("the last good state is %s", is)
	}
	if got := told(); !strings.Contains(got, "Error [IST0106] (VirtualService "+ns+"/a) spec.http[0].timeout: must be at least 1ms") || !strings.Contains(got, "the previous version stays in force") {
		t.Errorf("diagnostics\n%s", got)
	}
	rule("4s")
	await(t, "the rule is mended", func() bool { return strings.Contains(f.of("VirtualService", ns, "a"), "4s") && told() == "" })
}

// TestRevision: a control plane with a revision has the MeshConfig of that revision, and reads what is for all or for it.
func TestRevision(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	ns, client := c.Namespace(t, "revision", nil), dynamicClient(t, c)
	apply(t, client, placed(ns, `
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: NS}, data: {mesh: "trustDomain: first"}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-canary, namespace: NS}, data: {mesh: "trustDomain: second"}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: all, namespace: NS}, spec: {egress: [{hosts: ["./*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: ours, namespace: NS, labels: {istio.io/rev: canary}}, spec: {egress: [{hosts: ["./*"]}]}}
---
{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: theirs, namespace: NS, labels: {istio.io/rev: stable}}, spec: {egress: [{hosts: ["./*"]}]}}`))
	f := follow(t, c, kube.Options{Namespace: ns, Revision: "canary"})
	sidecars := func() (out string) {
		set, _, _ := f.now()
		for _, o := range set.Sidecars {
			if o.Namespace == ns {
				out += o.Name + " "
			}
		}
		return out
	}
	set, _, _ := f.now()
	if got := set.Mesh.Spec.GetTrustDomain(); got != "second" || sidecars() != "all ours " {
		t.Errorf("trust domain %q, Sidecars %s", got, sidecars())
	}
	apply(t, client, placed(ns, `{apiVersion: networking.istio.io/v1, kind: Sidecar, metadata: {name: ours, namespace: NS, labels: {istio.io/rev: stable}}, spec: {egress: [{hosts: ["./*"]}]}}`))
	await(t, "a Sidecar has moved to another revision", func() bool { return sidecars() == "all " })
	apply(t, client, placed(ns, `{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-canary, namespace: NS}, data: {mesh: "trustDomain: third"}}`))
	await(t, "MeshConfig has changed", func() bool { set, _, _ := f.now(); return set.Mesh.Spec.GetTrustDomain() == "third" })
}

// rights are all that a source needs, where gateways are in one namespace.
const rights = `
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: NS-reader}, rules: [
  {apiGroups: [""], resources: [services, pods, namespaces, nodes], verbs: [list, watch]},
  {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]},
  {apiGroups: [apiextensions.k8s.io], resources: [customresourcedefinitions], verbs: [list, watch]},
  {apiGroups: [networking.istio.io, security.istio.io, telemetry.istio.io, extensions.istio.io, mizzen.dev], resources: ["*"], verbs: [list, watch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: NS-reader}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: NS-reader}, subjects: [{kind: User, name: NS-user}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: NS}, rules: [
  {apiGroups: [""], resources: [secrets], SECRETS}, {apiGroups: [""], resources: [configmaps], verbs: [list, watch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: reader, namespace: NS}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}, subjects: [{kind: User, name: NS-user}]}`

// TestSecrets: of all Secrets those are read that a Gateway names, where its pods are; one that RBAC keeps away stops nothing, and less than
// all Secrets of a namespace is enough to be allowed.
func TestSecrets(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string]string{
		"all":     "verbs: [get, list, watch]",
		"no get":  "verbs: [list, watch]",
		"by name": "resourceNames: [shop, shop-cacert], verbs: [get, list, watch]",
	} {
		t.Run(name, func(t *testing.T) { testSecrets(t, strings.ReplaceAll(rights, "SECRETS", secrets)) })
	}
}

func testSecrets(t *testing.T, rights string) {
	c := side(t)
	c.Definitions(t)
	ns, away, client := c.Namespace(t, "secrets", nil), c.Namespace(t, "away", nil), dynamicClient(t, c)
	c.Kubectl(t, placed(ns, rights), "apply", "-f", "-")
	text := strings.NewReplacer("NS", ns, "AWAY", away).Replace(`
{apiVersion: v1, kind: Pod, metadata: {name: gw, namespace: NS, labels: {istio: NS}}, spec: {containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 10.9.1.1}}
---
{apiVersion: v1, kind: Secret, metadata: {name: shop, namespace: NS}, stringData: {tls.crt: first, tls.key: secret, note: memo}}
---
{apiVersion: v1, kind: Secret, metadata: {name: private, namespace: NS}, stringData: {password: secret}}
---
{apiVersion: v1, kind: Secret, metadata: {name: shop, namespace: AWAY}, stringData: {tls.crt: first}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: shop, namespace: AWAY}, spec: {selector: {istio: NS}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: shop}}]}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: other, namespace: AWAY}, spec: {selector: {istio: nobody}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: shop}}]}}`)
	apply(t, client, text)
	f := follow(t, c, kube.Options{Config: c.ConfigAs(t, ns+"-user", "system:authenticated"), Namespace: ns})
	secrets := func() (out string) {
		set, _, _ := f.now()
		for _, o := range set.Secrets {
			out += o.Namespace + "/" + o.Name + " "
			if len(o.Spec.Data) > 2 {
				t.Errorf("entries of no use are kept: %v", o.Spec.Data)
			}
		}
		return out
	}
	if got := secrets(); got != ns+"/shop " {
		t.Errorf("the source has Secrets %s", got)
	}
	apply(t, client, placed(ns, `{apiVersion: v1, kind: Secret, metadata: {name: shop, namespace: NS}, stringData: {tls.crt: renewed, tls.key: secret}}`))
	await(t, "the Secret is renewed", func() bool {
		set, _, _ := f.now()
		return len(set.Secrets) == 1 && string(set.Secrets[0].Spec.Data["tls.crt"]) == "renewed"
	})
	if err := c.Client(t).CoreV1().Secrets(ns).Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "the Secret is gone", func() bool { return secrets() == "" })
	apply(t, client, placed(ns, `{apiVersion: v1, kind: Secret, metadata: {name: shop-cacert, namespace: NS}, stringData: {ca.crt: roots}}`))
	await(t, "the roots come later", func() bool { return secrets() == ns+"/shop-cacert " })
	for _, name := range []string{"shop", "other"} {
		c.Kubectl(t, "", "delete", "gateways.networking.istio.io", name, "-n", away)
	}
	await(t, "no Secret is named any more", func() bool { return secrets() == "" })
}

// TestManySecrets: hundreds of certificates are one watch.
func TestManySecrets(t *testing.T) {
	const n = 200
	c := side(t)
	c.Definitions(t)
	ns, client := c.Namespace(t, "many", nil), dynamicClient(t, c)
	apply(t, client, placed(ns, `{apiVersion: v1, kind: Pod, metadata: {name: gw, namespace: NS, labels: {istio: NS}}, spec: {containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 10.9.1.2}}`))
	gateway := placed(ns, "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: many, namespace: NS}, spec: {selector: {istio: NS}, servers: [")
	for i := range n {
		apply(t, client, placed(ns, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: c%d, namespace: NS}, stringData: {tls.crt: a, tls.key: b}}`, i)))
		gateway += fmt.Sprintf(`{port: {number: 443, name: https-%d, protocol: HTTPS}, hosts: ["%d.example.com"], tls: {mode: SIMPLE, credentialName: c%d}}, `, i, i, i)
	}
	apply(t, client, gateway+"]}}")
	defer c.Kubectl(t, "", "delete", "gateways.networking.istio.io", "many", "-n", ns) // else every other source would look for them
	var watches, gets atomic.Int64
	config := c.Config(t)
	config.QPS = 0
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			switch path := "/api/v1/namespaces/" + ns + "/secrets"; {
			case q.URL.Path == path && q.URL.Query().Get("watch") != "":
				watches.Add(1)
			case strings.HasPrefix(q.URL.Path, path+"/"):
				gets.Add(1)
			}
			return next.RoundTrip(q)
		})
	})
	began := time.Now()
	f := follow(t, c, kube.Options{Config: config, Namespace: ns})
	count := func() (n int) { // in this namespace
		set, _, _ := f.now()
		for _, o := range set.Secrets {
			if o.Namespace == ns {
				n++
			}
		}
		return n
	}
	if got := count(); got != n {
		t.Errorf("%d Secrets when everything has been read, want %d", got, n)
	}
	t.Logf("after %v: %d watches, %d Secrets read", time.Since(began), watches.Load(), gets.Load())
	if w, g := watches.Load(), gets.Load(); w > 2 || g != n { // a watch that ends is begun again
		t.Errorf("%d watches, and %d times a Secret was read", w, g)
	}
	gets.Store(0)
	l, err := kube.List(t.Context(), kube.Options{Config: config, Namespace: ns, Log: slog.New(slog.DiscardHandler)})
	if err != nil || len(l.Set.Secrets) < n || !l.Secrets || gets.Load() != n {
		t.Errorf("read once: %v, %d times a Secret was read", err, gets.Load())
	}
}

// TestDefinitionComesAndGoes: a kind whose definition is made while the source runs is read from then on, until it goes.
func TestDefinitionComesAndGoes(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	ns, client := c.Namespace(t, "kinds", nil), dynamicClient(t, c)
	f := follow(t, c, kube.Options{})
	var policy istio.Kind
	for _, k := range istio.Known() {
		if k.Name == "Policy" {
			policy = k
		}
	}
	define(t, client, policy, policy.Versions...)
	apply(t, client, placed(ns, "{apiVersion: authentication.istio.io/v1alpha1, kind: Policy, metadata: {name: default, namespace: NS}, spec: {peers: [{mtls: {}}]}}"))
	peers := func() (n int) {
		set, _, _ := f.now()
		for _, o := range set.PeerAuthentications {
			if o.Namespace == ns {
				n++
			}
		}
		return n
	}
	await(t, "an old Policy is a PeerAuthentication", func() bool { return peers() == 1 })
	remove(t, c, policy)
	await(t, "the kind is gone with its objects", func() bool { return peers() == 0 })
}

// remove takes a kind's definition away.
func remove(t *testing.T, c *kubetest.Cluster, k istio.Kind) {
	t.Helper()
	definitions := dynamicClient(t, c).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if err := definitions.Delete(t.Context(), k.Plural+"."+k.Group, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}
