package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

const shop = `
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports:
  - {name: http, port: 9080}
  - {name: redis, port: 6379, targetPort: cache}
  - {name: grpc-api, port: 80, targetPort: 7070}
---
apiVersion: v1
kind: Service
metadata: {name: rate-it, namespace: other}
spec:
  clusterIP: 10.0.0.7
  ports: [{name: tcp-x, port: 1234}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  replicas: 2
  selector: {matchLabels: {app: reviews}}
  template:
    metadata:
      labels: {app: reviews, version: v1}
      annotations:
        mizzen.dev/calls: "http://ratings:9080/a, http://details:9080/"
        mizzen.dev/forward: "end-user, jwt"
    spec:
      serviceAccountName: bookshop
      containers:
      - name: app
        ports: [{containerPort: 9080}, {containerPort: 6380, name: cache}, {containerPort: 15090}]
        env:
        - {name: COLOUR, value: red}
        - {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: TEAM, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: other}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db, sidecar.istio.io/inject: "false"}}
    spec: {containers: [{name: db, ports: [{containerPort: 27017, name: mongo}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell, labels: {run: shell}, annotations: {mizzen.dev/exec: "sleep 1", mizzen.dev/calls: "ratings"}}
spec: {containers: [{name: sh}]}
`

func decode(t *testing.T, yaml string) istio.Set {
	t.Helper()
	set, diags := istio.Decode("test.yaml", strings.NewReader(yaml))
	if w, _ := diags.Worst(); w == istio.Error {
		t.Fatal(diags)
	}
	return set
}

func TestWorkloads(t *testing.T) {
	p, diags := Of(decode(t, shop))
	var got []string
	for _, w := range p.Workloads {
		got = append(got, fmt.Sprintf("%s %s/%s ports %v sidecar %v", w.Key(), w.Service(), w.Version(), w.Ports, w.Sidecar))
	}
	want := []string{
		"default/reviews-v1-0 reviews/v1 ports [{6380 cache true} {7070 grpc-api false} {9080 http false}] sidecar true",
		"default/reviews-v1-1 reviews/v1 ports [{6380 cache true} {7070 grpc-api false} {9080 http false}] sidecar true",
		"default/shell shell/ ports [] sidecar true",
		"other/db-0 db/ ports [{27017 mongo true}] sidecar false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	w := p.Workloads[0]
	if !slices.Equal(w.Calls, []string{"http://ratings:9080/a", "http://details:9080/"}) || !slices.Equal(w.Forward, []string{"end-user", "jwt"}) {
		t.Errorf("calls %v, forward %v", w.Calls, w.Forward)
	}
	if p.Workloads[2].Exec != "sleep 1" || p.Workloads[2].Calls != nil {
		t.Errorf("pod: %+v", p.Workloads[2])
	}
	if len(diags) != 1 || !strings.Contains(diags[0].Message, `"ratings" is not a URL`) || diags[0].Position.File != "test.yaml" || diags[0].Position.Line == 0 {
		t.Errorf("diagnostics: %v", diags)
	}
}

func TestEnvironment(t *testing.T) {
	p, _ := Of(decode(t, shop))
	at := Place{PodIP: "127.1.0.1", Application: "127.2.0.1", Proxy: "http://127.1.0.1:15001"}
	got := p.Workloads[0].Env([]string{"PATH=/bin", "HTTPS_PROXY=http://corp:3128", "no_proxy=localhost", "COLOUR=blue"}, at)
	want := []string{
		"COLOUR=red", "HOSTNAME=reviews-v1-0", "HTTP_PROXY=http://127.1.0.1:15001", "ME=reviews-v1-0", "MIZZEN_BIND=127.2.0.1", "NO_PROXY=", "PATH=/bin",
		"POD_IP=127.1.0.1", "POD_NAME=reviews-v1-0", "POD_NAMESPACE=default", "PORT=9080", "REVIEWS_SERVICE_HOST=reviews", "REVIEWS_SERVICE_PORT=9080",
		"REVIEWS_SERVICE_PORT_GRPC_API=80", "REVIEWS_SERVICE_PORT_HTTP=9080", "REVIEWS_SERVICE_PORT_REDIS=6379", "TEAM=reviews",
		"http_proxy=http://127.1.0.1:15001", "no_proxy=",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	other := p.Workloads[3].Env(nil, Place{})
	if !slices.Contains(other, "RATE_IT_SERVICE_HOST=10.0.0.7") || slices.ContainsFunc(other, func(s string) bool { return strings.HasPrefix(s, "HTTP_PROXY=") }) {
		t.Errorf("other namespace, no sidecar: %q", other)
	}
}

func TestPodObject(t *testing.T) {
	p, _ := Of(decode(t, shop))
	pod := p.Workloads[0].Pod(Place{PodIP: "127.1.0.9"}, true)
	var ports []int32
	for _, c := range pod.Spec.Containers[0].Ports {
		ports = append(ports, c.ContainerPort)
	}
	if pod.Status.PodIP != "127.1.0.9" || pod.Status.Conditions[0].Status != "True" || pod.Spec.ServiceAccountName != "bookshop" ||
		pod.Labels["version"] != "v1" || !slices.Equal(ports, []int32{9080, 6380, 15090, 7070}) || pod.OwnerReferences[0].Name != "reviews-v1" {
		t.Errorf("got %+v ports %v", pod, ports)
	}
}

const gateways = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: a}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: b}
spec:
  selector: {app: istio-ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["b.example"]}
  - {port: {number: 31400, name: http-2, protocol: HTTP}, hosts: ["b.example"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: out}
spec:
  selector: {istio: egressgateway}
  servers:
  - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: own}
spec:
  selector: {gateway: edge, tier: front}
  servers:
  - {port: {number: 8081, name: http, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: my-egress, namespace: shop}
spec:
  selector: {matchLabels: {istio: egressgateway}}
  template:
    metadata: {labels: {istio: egressgateway, team: net}}
    spec: {containers: [{name: istio-proxy, image: auto}]}
`

func TestGateways(t *testing.T) {
	p, _ := Of(decode(t, gateways))
	var got []string
	for _, g := range p.Gateways {
		got = append(got, fmt.Sprintf("%s %v %v", g.Key(), g.Labels, g.Ports))
	}
	want := []string{
		"istio-system/istio-ingressgateway map[app:istio-ingressgateway istio:ingressgateway] [80 31400]",
		"istio-system/edge-front map[gateway:edge tier:front] [8081]",
		"shop/my-egress map[istio:egressgateway team:net] [8080]",
	}
	if !slices.Equal(got, want) || len(p.Workloads) != 0 {
		t.Errorf("got  %s\nwant %s\nworkloads %v", strings.Join(got, "\n     "), strings.Join(want, "\n     "), p.Workloads)
	}
}

// Files of pods are told apart, whatever the pods are called, and may be written.
func TestPodFile(t *testing.T) {
	long := strings.Repeat("n", 253)
	seen := map[string]bool{}
	for _, pod := range [][2]string{{"a", "b-c"}, {"a-b", "c"}, {"a", "b.c"}, {"a", long + "1"}, {"a", long + "2"}} {
		name := PodFile(pod[0], pod[1])
		if seen[name] || len(name) > 255 {
			t.Errorf("%v: file %q", pod, name)
		}
		seen[name] = true
	}
}
