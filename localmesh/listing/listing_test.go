package listing

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

const objects = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bookinfo, creationTimestamp: "2027-01-15T07:55:00Z"}
spec: {hosts: ["*", shop.example], gateways: [gw], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: far, namespace: other}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}, {name: tcp, port: 7000}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  replicas: 2
  selector: {matchLabels: {app: reviews}}
  template: {metadata: {labels: {app: reviews}}, spec: {containers: [{name: a, image: x}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1-0, labels: {app: reviews}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: reviews-v1, uid: local}]}
spec: {containers: [{name: a, image: x}]}
status: {phase: Running, podIP: 127.1.0.1, conditions: [{type: Ready, status: "True"}]}
`

func printer(t *testing.T, all bool) (Printer, func(args ...string) string) {
	t.Helper()
	set, diags := istio.Decode("x.yaml", strings.NewReader(objects))
	if w, _ := diags.Worst(); w == istio.Error {
		t.Fatal(diags)
	}
	now := time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC)
	p := Printer{Set: set, Now: now, Namespaces: all, State: &state.State{
		Started: now.Add(-42 * time.Second), Workloads: []state.Workload{{Name: "reviews-v1-0", Namespace: "default", Proxy: "http://127.1.0.1:15001"}},
	}}
	return p, func(args ...string) string {
		q, err := ParseQuery(args, "default", all)
		if err != nil {
			t.Fatal(err)
		}
		found, err := q.Find(set)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := p.Table(&b, found); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
}

func TestTablesAreKubectls(t *testing.T) {
	_, get := printer(t, false)
	for args, want := range map[string]string{
		"vs":             "NAME       GATEWAYS   HOSTS                  AGE\nbookinfo   [\"gw\"]     [\"*\",\"shop.example\"]   5m\nreviews               [\"reviews\"]            42s\n",
		"dr reviews":     "NAME      HOST      AGE\nreviews   reviews   42s\n",
		"serviceentries": "NAME   HOSTS             LOCATION        RESOLUTION   AGE\napi    [\"api.example\"]   MESH_EXTERNAL   DNS          42s\n",
		"svc":            "NAME      TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)             AGE\nreviews   ClusterIP   None         <none>        9080/TCP,7000/TCP   42s\n",
		"po":             "NAME           READY   STATUS    RESTARTS   AGE\nreviews-v1-0   2/2     Running   0          42s\n",
		"deploy":         "NAME         READY   UP-TO-DATE   AVAILABLE   AGE\nreviews-v1   1/2     1            1           42s\n",
		"dr/reviews":     "NAME      HOST      AGE\nreviews   reviews   42s\n",
		"VirtualService": "NAME       GATEWAYS   HOSTS                  AGE\nbookinfo   [\"gw\"]     [\"*\",\"shop.example\"]   5m\nreviews               [\"reviews\"]            42s\n",
		"svc,dr reviews": "NAME              TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)             AGE\nservice/reviews   ClusterIP   None         <none>        9080/TCP,7000/TCP   42s\n\nNAME                                          HOST      AGE\ndestinationrule.networking.istio.io/reviews   reviews   42s\n",
	} {
		if got := get(strings.Fields(args)...); got != want {
			t.Errorf("get %s:\ngot\n%s\nwant\n%s", args, got, want)
		}
	}
	_, getAll := printer(t, true)
	if got := getAll("vs"); !strings.HasPrefix(got, "NAMESPACE   NAME") || !strings.Contains(got, "other       far") {
		t.Errorf("get vs -A:\n%s", got)
	}
}

func TestObjects(t *testing.T) {
	p, _ := printer(t, false)
	q, _ := ParseQuery([]string{"dr", "reviews"}, "default", false)
	found, err := q.Find(p.Set)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := p.Objects(&b, found, false, true); err != nil {
		t.Fatal(err)
	}
	want := "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  name: reviews\n  namespace: default\nspec:\n  host: reviews\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := p.Objects(&b, found, true, false); err != nil || !strings.Contains(b.String(), `"kind": "List"`) {
		t.Errorf("got %s, %v", b.String(), err)
	}
}

// TestGivenAddresses: a ServiceEntry shows the addresses that its host is given, as istiod writes them; one with its own has no need.
func TestGivenAddresses(t *testing.T) {
	p, _ := printer(t, false)
	more, diags := istio.Decode("y.yaml", strings.NewReader(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: own}
spec: {hosts: [own.example], addresses: [10.1.2.3], resolution: STATIC, endpoints: [{address: 10.1.2.4}], ports: [{number: 80, name: http, protocol: HTTP}]}
`))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	p.Set, _ = istio.Merge(p.Set, more)
	for name, want := range map[string]string{
		"api": `(?m)^status:\n  addresses:\n  - host: api.example\n    value: 240.240.\d+.\d+\n  - host: api.example\n    value: 2001:2::f0f0:[0-9a-f]+$`,
		"own": `ports:\n  - name: http\n    number: 80\n    protocol: HTTP\n  resolution: STATIC\n$`,
	} {
		q, _ := ParseQuery([]string{"se", name}, "default", false)
		found, err := q.Find(p.Set)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := p.Objects(&b, found, false, true); err != nil || !regexp.MustCompile(want).MatchString(b.String()) {
			t.Errorf("%v, want %s, got\n%s", err, want, b.String())
		}
	}
}

func TestQueryMistakes(t *testing.T) {
	if _, err := ParseQuery([]string{"vss"}, "default", false); err == nil || !strings.Contains(err.Error(), `unknown kind "vss"; known are vs, dr`) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseQuery([]string{"vs/a", "dr/b"}, "default", false); err == nil {
		t.Error("two kinds by name accepted")
	}
	p, _ := printer(t, false)
	q, _ := ParseQuery([]string{"vs", "far"}, "default", false)
	if _, err := q.Find(p.Set); err == nil || !strings.Contains(err.Error(), `find virtualservices "far": not found in namespace default; there is one in `) {
		t.Errorf("got %v", err)
	}
}

func TestAges(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 150 * time.Second: "2m30s", 11 * time.Minute: "11m", 170 * time.Minute: "170m",
		4*time.Hour + 5*time.Minute: "4h5m", 30 * time.Hour: "30h", 50 * time.Hour: "2d2h", 240 * time.Hour: "10d",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
