package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	envoytest.Await(t, limit, what, cond)
}

// follower is a source whose last word is kept.
type follower struct {
	mu    sync.Mutex
	set   istio.Set
	diags istio.Diagnostics
	calls int
}

func follow(t *testing.T, c *kubetest.Cluster, o kube.Options) *follower {
	t.Helper()
	f := &follower{}
	if o.Config == nil {
		o.Config = c.Config(t)
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- kube.Watch(ctx, o, func(s istio.Set, ds istio.Diagnostics) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.set, f.diags = s, ds
			f.calls++
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	await(t, "the source has read everything", func() bool { _, _, n := f.now(); return n > 0 })
	return f
}

func (f *follower) now() (istio.Set, istio.Diagnostics, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set, f.diags, f.calls
}

// of is what is in force of one object; "" if nothing is.
func (f *follower) of(kind, namespace, name string) string {
	set, _, _ := f.now()
	set = set.Only(func(m *istio.Meta) bool { return m.Namespace == namespace })
	return fingerprints(&set)[istio.Ref{Kind: kind, Namespace: namespace, Name: name}.String()]
}

// fingerprints tell what of each object bears on a mesh.
func fingerprints(s *istio.Set) map[string]string {
	out := map[string]string{}
	add := func(m *istio.Meta, what any) {
		if p, ok := what.(proto.Message); ok {
			raw, err := protojson.Marshal(p)
			if err != nil {
				panic(err)
			}
			var b bytes.Buffer
			if err := json.Compact(&b, raw); err != nil { // protojson spaces at random
				panic(err)
			}
			what = b.String()
		}
		raw, err := json.Marshal([]any{m.Labels, what})
		if err != nil {
			panic(err)
		}
		out[m.Ref.String()] = string(raw)
	}
	for _, o := range s.VirtualServices {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.DestinationRules {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.Gateways {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.ServiceEntries {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.AuthorizationPolicies {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.RateLimits {
		add(&o.Meta, o.Spec)
	}
	for _, o := range s.Services {
		add(&o.Meta, o.Spec.Spec)
	}
	for _, o := range s.EndpointSlices {
		add(&o.Meta, []any{o.Spec.AddressType, o.Spec.Endpoints, o.Spec.Ports})
	}
	for _, o := range s.Pods {
		add(&o.Meta, []any{o.Spec.Status.PodIP, o.Spec.Status.Phase, o.Spec.Spec.ServiceAccountName, o.Spec.Spec.NodeName, o.Spec.Spec.Containers[0].Ports})
	}
	for _, o := range s.Namespaces {
		add(&o.Meta, nil)
	}
	for _, o := range s.Nodes {
		add(&o.Meta, nil)
	}
	return out
}

// kindsOfTest are those that random writes.
func kindsOfTest() []string {
	return []string{"VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "AuthorizationPolicy", "RateLimit", "Service", "EndpointSlice", "Pod", "Namespace", "Node"}
}

// fresh reads a namespace, and what is in none, anew, by listing, and by the decoder of files.
func fresh(t *testing.T, client dynamic.Interface, namespace string) map[string]string {
	t.Helper()
	var text bytes.Buffer
	for _, k := range istio.Known() {
		if !slices.Contains(kindsOfTest(), k.Name) {
			continue
		}
		in := namespace
		if !k.Namespaced {
			in = metav1.NamespaceAll
		}
		list, err := client.Resource(gvrOf(k, k.Versions[0])).Namespace(in).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			raw, err := o.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&text, "---\n%s\n", raw)
		}
	}
	set, diags := istio.Decode("cluster", &text)
	if bad := diags.Errors(); len(bad) > 0 {
		t.Fatal(bad)
	}
	return fingerprints(&set)
}

// random makes an object, another one for each draw.
func random(r *rand.Rand, namespace string, i int) string {
	head := func(version, kind string) string {
		return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: o%d, namespace: %s, labels: {v: v%d}}, ", version, kind, i, namespace, r.IntN(3))
	}
	n, m := 1+r.IntN(200), r.IntN(250)
	switch i % 9 {
	case 0:
		return head("networking.istio.io/v1", "VirtualService") + fmt.Sprintf("spec: {hosts: [h%d.example.com], http: [{timeout: %ds, route: [{destination: {host: o%d}}]}]}}", n, 1+m, n)
	case 1:
		return head("networking.istio.io/v1beta1", "DestinationRule") + fmt.Sprintf("spec: {host: h%d.example.com, subsets: [{name: v%d, labels: {version: v1}}]}}", n, m)
	case 2:
		return head("networking.istio.io/v1alpha3", "Gateway") + fmt.Sprintf("spec: {selector: {app: gw}, servers: [{port: {number: %d, name: http, protocol: HTTP}, hosts: ['*']}]}}", 8000+n)
	case 3:
		return head("networking.istio.io/v1", "ServiceEntry") + fmt.Sprintf("spec: {hosts: [h%d.example.com], resolution: DNS, location: MESH_EXTERNAL, ports: [{number: %d, name: http, protocol: HTTP}]}}", n, 1000+m)
	case 4:
		return head("security.istio.io/v1", "AuthorizationPolicy") + fmt.Sprintf("spec: {action: DENY, rules: [{to: [{operation: {paths: ['/%d/%d']}}]}]}}", n, m)
	case 5:
		return head("mizzen.dev/v1alpha1", "RateLimit") + fmt.Sprintf("spec: {limits: [{requests: %d, per: %ds}]}}", n, 1+m)
	case 6:
		return head("v1", "Service") + fmt.Sprintf("spec: {clusterIP: None, selector: {app: a%d}, ports: [{name: http, port: %d}]}}", n, 1000+m)
	case 7:
		return head("discovery.k8s.io/v1", "EndpointSlice") + fmt.Sprintf("addressType: IPv4, ports: [{name: http, port: %d}], endpoints: [{addresses: [10.1.%d.%d], conditions: {ready: %v}}]}", 1000+m, n, m, m%2 == 0)
	}
	return head("v1", "Pod") + fmt.Sprintf("spec: {serviceAccountName: sa, containers: [{name: a, image: b, ports: [{containerPort: 80}]}]}, status: {phase: Running, podIP: 10.2.%d.%d}}", n, m)
}

// TestSourceEndsAsAFreshRead: over a thousand objects that are created, changed and deleted at random, what the source has at the end is
// what the API server has.
func TestSourceEndsAsAFreshRead(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	client := dynamicClient(t, c)
	ns := c.Namespace(t, "random", map[string]string{"istio-injection": "enabled"})
	f := follow(t, c, kube.Options{})
	const writers, each, changes = 4, 250, 600
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(11, uint64(w)))
			there := map[int]bool{}
			for step := range each + changes/writers {
				i := w*each + r.IntN(each)
				if step < each {
					i = w*each + step // each of them once, and then any
				}
				o := parse(t, random(r, ns, i))
				if there[i] && r.IntN(3) == 0 {
					now := int64(0)
					if err := resource(t, client, o).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
						t.Error(err)
					}
					there[i] = false
					continue
				}
				write(t.Context(), t, client, o)
				there[i] = true
			}
		})
	}
	all.Wait()
	var want map[string]string
	var difference string
	defer func() {
		if t.Failed() {
			t.Log(difference)
		}
	}()
	await(t, "the source has what the API server has", func() bool {
		set, _, _ := f.now()
		set = set.Only(func(m *istio.Meta) bool { return m.Namespace == ns || m.Namespace == "" }) // other tests leave things
		want = fresh(t, client, ns)                                                                // other tests make namespaces all the time
		difference = compare(fingerprints(&set), want)
		return difference == ""
	})
	_, _, calls := f.now()
	t.Logf("%d objects, told %d times", len(want), calls)
}

func compare(got, want map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			fmt.Fprintf(&b, "%s: got %s, want %s\n", k, got[k], want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			fmt.Fprintf(&b, "%s: got %s, want nothing\n", k, got[k])
		}
	}
	return b.String()
}
