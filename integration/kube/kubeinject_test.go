package kube

import (
	"log/slog"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/mizzen-mesh/mizzen/injector/settings"
)

// TestKubeInject: kube-inject takes the settings of the cluster that it is given, and native sidecars where the cluster has them; who may
// read the ConfigMaps alone gets as far as these go.
func TestKubeInject(t *testing.T) {
	c := shared.Cluster(t)
	client, system := c.Client(t), c.Namespace(t, "kube-inject", nil)
	for name, data := range map[string]map[string]string{
		"istio-sidecar-injector":        {"config": "policy: enabled\n", "values": "global: {hub: cluster.example}\n"},
		"istio":                         {"mesh": "defaultConfig: {statusPort: 16020}\n"},
		"istio-sidecar-injector-canary": {"values": "global: {hub: canary.example}\n"},
	} {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
		if _, err := client.CoreV1().ConfigMaps(system).Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const manifests = "apiVersion: v1\nkind: Service # kept\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n  spec: {containers: [{name: a, image: a}]}\n"
	inject := func(kubeconfig string, args ...string) printed {
		return mizzen(t, kubeconfig, manifests, append([]string{"kube-inject", "-f", "-", "--istioNamespace", system}, args...)...)
	}
	got := inject(c.Kubeconfig())
	for _, want := range []string{"kind: Service # kept\n", "image: cluster.example/proxy:latest\n", "prometheus.io/port: \"16020\"\n", "restartPolicy: Always\n"} {
		if got.code != 0 || !strings.Contains(got.out, want) {
			t.Errorf("kube-inject: exit %d, %s; want %q in\n%s", got.code, got.err, want, got.out)
		}
	}
	if got = inject(c.Kubeconfig(), "--revision", "canary"); !strings.Contains(got.out, "image: canary.example/proxy:latest\n") {
		t.Errorf("kube-inject of a revision: exit %d, %s\n%s", got.code, got.err, got.out)
	}
	if got = inject(c.Kubeconfig(), "--revision", "old"); got.code != 1 || got.out != "" || !strings.Contains(got.err, `read ConfigMap `+system+`/istio-sidecar-injector-old: `) {
		t.Errorf("kube-inject of a revision that is not there: exit %d, %s", got.code, got.err)
	}

	user := "kube-inject-" + system
	c.Kubectl(t, "", "create", "role", user, "-n", system, "--verb=get", "--resource=configmaps")
	c.Kubectl(t, "", "create", "rolebinding", user, "-n", system, "--role="+user, "--user="+user)
	reader := c.WriteKubeconfig(t, c.ConfigAs(t, user))
	eventually(t, "who may read the ConfigMaps alone gets manifests", func() bool {
		got = inject(reader)
		return got.code == 0
	})
	if !strings.Contains(got.out, "restartPolicy: Always\n") || !strings.Contains(got.err, "nodes may not be listed") {
		t.Errorf("kube-inject of who may not list nodes: %s\n%s", got.err, got.out)
	}
}

// TestNativeSidecarsOfNodes: an old kubelet somewhere, and the cluster has no native sidecars.
func TestNativeSidecarsOfNodes(t *testing.T) {
	c := shared.Cluster(t)
	client, system := c.Client(t), c.Namespace(t, "nodes", nil)
	dyn, err := dynamic.NewForConfig(c.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector"}}
	if _, err := client.CoreV1().ConfigMaps(system).Create(t.Context(), m, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	from := settings.Cluster{Client: client, Dynamic: dyn, Namespace: system, Log: slog.New(slog.DiscardHandler)}
	nodes := client.CoreV1().Nodes()
	for _, x := range []struct {
		kubelet string
		native  bool
	}{{"v1.36.3", true}, {"v1.33.0-eks-1", true}, {"v1.32.9", false}} { // each beside those before
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: system + "-" + strings.ReplaceAll(x.kubelet, ".", "-")}}
		node.Status.NodeInfo.KubeletVersion = x.kubelet
		if _, err := nodes.Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nodes.Delete(t.Context(), node.Name, metav1.DeleteOptions{}) }()
		p, err := from.Read(t.Context())
		if err != nil || p.NativeSidecars != x.native {
			t.Errorf("with a kubelet %s: %v, native sidecars %v", x.kubelet, err, p != nil && p.NativeSidecars)
		}
	}
}
