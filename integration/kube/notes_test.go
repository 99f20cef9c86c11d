package kube

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// notes are the entries that replicas have left for their leader, by whom.
func notes(t *testing.T, c *kubetest.Cluster, namespace string) map[string]string {
	t.Helper()
	m, err := c.Client(t).CoreV1().ConfigMaps(namespace).Get(t.Context(), "mizzen-controlplane-notes", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Data
}

// notesOfOthers: the leader writes what another replica alone knows, for as long as that says so and lives, and the next leader goes on with it.
func notesOfOthers(t *testing.T, c *kubetest.Cluster) {
	ns := c.Namespace(t, "notes", nil)
	for _, name := range []string{"a", "b"} {
		c.Kubectl(t, fmt.Sprintf(`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: %s}, spec: {host: a}}`, name), "apply", "-n", ns, "-f", "-")
	}
	client := dynamicClient(t, c)
	get := func(name string) string { return says(t, client, "dr", ns, name) }
	one := newReplica(t, c, ns, "one")
	eventually(t, "a leader", func() bool { return holder(t, c, ns) == "one" })
	two, three := newReplica(t, c, ns, "two"), newReplica(t, c, ns, "three")
	if n := notes(t, c, ns); n != nil {
		t.Errorf("nobody has anything to say, and there is %v", n)
	}
	two.tell("a\nb")
	three.tell("b")
	eventually(t, "what the others know", func() bool { return get("a") == refusedSays && get("b") == refusedSays })
	two.tell("b")
	eventually(t, "what is mended", func() bool { return get("a") == "" && get("b") == refusedSays })
	three.tell("")
	eventually(t, "nothing of the third", func() bool { return len(notes(t, c, ns)) == 1 })
	if get("b") != refusedSays {
		t.Error("the third replica's word took the second's away")
	}

	three.tell("a")
	one.dead.Store(true) // whoever leads next knows of the other by its note
	eventually(t, "another leader", func() bool { return holder(t, c, ns) != "one" })
	eventually(t, "its view", func() bool { return get("a") == refusedSays && get("b") == refusedSays })
	leader, other, left := two, three, "a"
	if holder(t, c, ns) == "three" {
		leader, other, left = three, two, "b"
	}
	other.dead.Store(true)
	eventually(t, "what the dead one said is forgotten", func() bool { return get(left) == "" && len(notes(t, c, ns)) == 1 })
	leader.tell("")
	eventually(t, "nothing is left", func() bool { return get("a")+get("b") == "" && len(notes(t, c, ns)) == 0 })
}

// refusedElsewhere: what an Envoy refuses that is connected to a replica which does not lead is in the status of the object that
// caused it, until the object is mended, or the replica is gone.
func refusedElsewhere(t *testing.T, c *kubetest.Cluster) {
	envoytest.Find(t)
	system, ns, client := c.Namespace(t, "system", nil), c.Namespace(t, "shop", nil), dynamicClient(t, c)
	apply(t, client, placed(ns, `
{apiVersion: v1, kind: Pod, metadata: {name: curl, namespace: NS, labels: {app: curl}}, spec: {containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 127.0.0.1}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: one, namespace: NS}, spec: {hosts: [one.example.com], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 127.0.0.1}]}}`))
	patch := func(value string) { // of a cluster
		apply(t, client, placed(ns, `{apiVersion: networking.istio.io/v1alpha3, kind: EnvoyFilter, metadata: {name: patch, namespace: NS}, spec: {configPatches: [{applyTo: CLUSTER, match: {context: SIDECAR_OUTBOUND, cluster: {service: one.example.com}}, patch: {operation: MERGE, value: `+value+`}}]}}`))
	}
	flags := []string{"--kubeconfig", c.Kubeconfig(), "--namespace", system, "--secure-addr", "127.0.0.1:0"}
	first := startReplica(t, flags...)
	eventually(t, "a leader", func() bool { return holder(t, c, system) != "" })
	second := startReplica(t, flags...)
	config, err := bootstrap.Config(bootstrap.Options{
		NodeID: nodeID("sidecar", "127.0.0.1", "curl", ns), XDSAddress: second.xds,
		Metadata: map[string]any{"NAMESPACE": ns, "INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": fmt.Sprint(envoytest.FreePort(t))},
	})
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Start(t, envoytest.Options{Config: string(config), Module: "-"})
	await(t, "Envoy has its configuration", func() bool { return synced(second) })

	status := func() string { return says(t, client, "envoyfilter", ns, "patch") }
	refused := func() bool {
		s := status()
		return strings.HasPrefix(s, "Reconciled=False NotServed: Error [MZ0601] proxy curl."+ns+": Envoy rejected cluster") && strings.HasSuffix(s, ";MZ0601 ERROR ")
	}
	bad := "{lb_policy: CLUSTER_PROVIDED}" // which only a cluster has that finds its endpoints itself
	patch(bad)
	await(t, "the object says what Envoy says", refused)
	if said, err := first.page("/debug/diagnostics"); err != nil || strings.Contains(said, "MZ0601") {
		t.Errorf("the leader, which has no proxy, says %v: %s", err, said)
	}
	patch("{lb_policy: RANDOM}")
	await(t, "it says so no more", func() bool { return status() == "" && len(notes(t, c, system)) == 0 })
	patch(bad)
	await(t, "it says so again", refused)
	second.Kill()
	await(t, "what the killed replica said is forgotten", func() bool { return status() == "" && len(notes(t, c, system)) == 0 })
}
