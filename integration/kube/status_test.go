package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/jsonpath"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/status"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// replica runs the leader's work over diagnostics that the test says.
type replica struct {
	dead   atomic.Bool // its requests fail, as if its machine were gone
	writes atomic.Int64
	ds     atomic.Pointer[istio.Diagnostics]
	roots  atomic.Pointer[string]
	note   atomic.Pointer[string] // the names of DestinationRules, a line each, that this replica alone knows to be wrong
}

func (r *replica) RoundTrip(next http.RoundTripper, q *http.Request) (*http.Response, error) {
	if r.dead.Load() {
		return nil, errors.New("the machine is gone")
	}
	if strings.HasSuffix(q.URL.Path, "/status") {
		r.writes.Add(1)
	}
	return next.RoundTrip(q)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

func newReplica(t *testing.T, c *kubetest.Cluster, namespace, name string) *replica {
	t.Helper()
	r := &replica{}
	r.say()
	r.tell("")
	config := rest.CopyConfig(c.Config(t))
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) { return r.RoundTrip(next, q) })
	})
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	o := status.Options{
		Client: client, Dynamic: dyn, Namespace: namespace, Lease: "mizzen-controlplane-leader", Identity: name,
		Notes: "mizzen-controlplane-notes", Note: func() string { return *r.note.Load() },
		Diagnostics: func(notes []string) istio.Diagnostics {
			out := slices.Clone(*r.ds.Load())
			for _, name := range strings.Fields(strings.Join(notes, "\n") + "\n" + *r.note.Load()) {
				if d := refusedRule(namespace, name); !slices.Contains(out, d) {
					out = append(out, d)
				}
			}
			return out
		},
		Roots: func() string {
			if s := r.roots.Load(); s != nil {
				return *s
			}
			return ""
		},
		Terms: status.Terms{Lease: 8 * time.Second, Look: 50 * time.Millisecond}, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := status.Run(ctx, o); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return r
}

func (r *replica) say(ds ...istio.Diagnostic) {
	list := istio.Diagnostics(ds)
	r.ds.Store(&list)
}

func (r *replica) tell(note string) { r.note.Store(&note) }

func refusedRule(namespace, name string) istio.Diagnostic {
	return istio.Diagnostic{Code: "MZ0601", Severity: istio.Error, Object: istio.Ref{Kind: "DestinationRule", Namespace: namespace, Name: name}, Message: "refused"}
}

const refusedSays = "Reconciled=False NotServed: Error [MZ0601] refused;MZ0601 ERROR "

// holder is who leads.
func holder(t *testing.T, c *kubetest.Cluster, namespace string) string {
	t.Helper()
	l, err := c.Client(t).CoordinationV1().Leases(namespace).Get(t.Context(), "mizzen-controlplane-leader", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && l.Spec.HolderIdentity == nil {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return *l.Spec.HolderIdentity
}

// says is what the status of an object tells of what a leader thinks of it, and of others' conditions.
func says(t *testing.T, client dynamic.Interface, kind, namespace, name string) string {
	t.Helper()
	k, ok := istio.FindKind(kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	o, err := client.Resource(gvrOf(k, k.Versions[0])).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	path := jsonpath.New("status").AllowMissingKeys(true) // kubectl's
	err = path.Parse(`{range .status.conditions[*]}{.type}={.status} {.reason}: {.message};{end}{range .status.validationMessages[*]}{.type.code} {.level} {end}`)
	if err == nil {
		err = path.Execute(&b, o.Object)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLeaders: what leaders write, in a cluster of its own and one test at a time: a leader writes what it thinks into whatever there is.
func TestLeaders(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t, kubetest.Options{})
	c.Definitions(t)
	for _, x := range []struct {
		name string
		run  func(*testing.T, *kubetest.Cluster)
	}{
		{"refused elsewhere", refusedElsewhere}, {"notes", notesOfOthers}, {"status", statusOfObjects}, {"stored mistakes", storedMistakes},
		{"next leader", nextLeader}, {"roots", rootsEverywhere},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t, c) })
	}
}

// statusOfObjects: conditions appear on the object that is wrong and vanish when it is mended, and what others wrote there stays.
func statusOfObjects(t *testing.T, c *kubetest.Cluster) {
	ns := c.Namespace(t, "status", nil)
	c.Kubectl(t, `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: {hosts: [a]}}`, "apply", "-n", ns, "-f", "-")
	c.Kubectl(t, "", "patch", "vs", "a", "-n", ns, "--subresource=status", "--type=merge", "-p", `{"status": {"conditions": [{"type": "Theirs", "status": "True"}]}}`)
	r := newReplica(t, c, ns, "one")
	ref := istio.Ref{Kind: "VirtualService", Namespace: ns, Name: "a"}
	client := dynamicClient(t, c)
	get := func() string { return says(t, client, "vs", ns, "a") }

	r.say(istio.Diagnostic{Code: "IST0106", Severity: istio.Error, Object: ref, Path: "spec.http", Message: "no routes", Fix: "write some"},
		istio.Diagnostic{Code: "MZ0601", Severity: istio.Error, Object: istio.Ref{Kind: "VirtualService", Namespace: ns, Name: "gone"}, Message: "is not there"})
	want := "Theirs=True : ;Reconciled=False Rejected: Error [IST0106] spec.http: no routes; write some;IST0106 ERROR "
	eventually(t, "the error appears", func() bool { return get() == want })
	writes := r.writes.Load()

	r.say(istio.Diagnostic{Code: "MZ0301", Severity: istio.Warning, Object: ref, Message: "does little"})
	eventually(t, "a warning in its place", func() bool { return get() == "Theirs=True : ;MZ0301 WARNING " })
	r.say()
	eventually(t, "nothing is left", func() bool { return get() == "Theirs=True : ;" })
	if n := r.writes.Load() - writes; n != 2 {
		t.Errorf("%d writes for two changes", n)
	}
	if g := c.Kubectl(t, "", "get", "vs", "a", "-n", ns, "-ojsonpath={.metadata.generation}"); g != "1" {
		t.Errorf("the object's generation is %s", g)
	}
}

// nextLeader: of two replicas one writes; when it is gone the other does, and takes away what has become untrue meanwhile.
func nextLeader(t *testing.T, c *kubetest.Cluster) {
	ns := c.Namespace(t, "leader", nil)
	for _, name := range []string{"a", "b"} {
		c.Kubectl(t, fmt.Sprintf(`{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: %s}, spec: {host: a}}`, name), "apply", "-n", ns, "-f", "-")
	}
	client := dynamicClient(t, c)
	get := func(name string) string { return says(t, client, "dr", ns, name) }

	one := newReplica(t, c, ns, "one")
	eventually(t, "a leader", func() bool { return holder(t, c, ns) == "one" })
	two := newReplica(t, c, ns, "two")
	one.say(refusedRule(ns, "a"))
	two.say(refusedRule(ns, "b"))
	eventually(t, "the leader's view", func() bool { return get("a") == refusedSays })
	one.dead.Store(true)
	eventually(t, "another leader", func() bool { return holder(t, c, ns) == "two" })
	eventually(t, "the other's view", func() bool { return get("b") == refusedSays && get("a") == "" })
}

// rootsEverywhere: the root certificate is in every namespace, new ones too, is restored and replaced.
func rootsEverywhere(t *testing.T, c *kubetest.Cluster) {
	client := c.Client(t)
	ns := c.Namespace(t, "roots", nil)
	r := newReplica(t, c, ns, "one")
	first, second := "first", "second"
	has := func(namespace, want string) func() bool {
		return func() bool {
			m, err := client.CoreV1().ConfigMaps(namespace).Get(t.Context(), status.RootsConfigMap, metav1.GetOptions{})
			return err == nil && m.Data[status.RootsKey] == want
		}
	}
	r.roots.Store(&first)
	eventually(t, "the certificate", has(ns, first))
	later := c.Namespace(t, "roots", nil)
	eventually(t, "the certificate in a new namespace", has(later, first))
	if err := client.CoreV1().ConfigMaps(later).Delete(t.Context(), status.RootsConfigMap, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the certificate again", has(later, first))
	r.roots.Store(&second)
	eventually(t, "the new certificate", func() bool { return has(ns, second)() && has(later, second)() })
	if _, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), status.RootsConfigMap, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("in kube-system: %v", err)
	}
}
