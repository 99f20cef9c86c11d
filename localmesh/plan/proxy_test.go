package plan

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// proxies plans the workloads of a text and returns how their proxies, and the first gateway's, are started.
func proxies(t *testing.T, text string) (map[string]Proxy, istio.Diagnostics) {
	t.Helper()
	set, diags := istio.Decode("case.yaml", strings.NewReader(text))
	p, more := Of(set)
	out := map[string]Proxy{}
	for _, w := range p.Workloads {
		out[w.Name] = w.Proxy
	}
	for _, g := range p.Gateways {
		out[g.Name] = g.Proxy
	}
	return out, append(diags, more...)
}

const pods = `
apiVersion: v1
kind: Pod
metadata: {name: cart, labels: {app: cart}}
---
apiVersion: v1
kind: Pod
metadata:
  name: pay
  labels: {app: pay}
  annotations: {proxy.istio.io/config: "{concurrency: 4, proxyMetadata: {ISTIO_META_TEAM: green}}"}
---
`

// TestProxy: each layer of ProxyConfig shows in how an Envoy is started.
func TestProxy(t *testing.T) {
	defaults := Proxy{Workers: 1, MeshID: "cluster.local", Drain: 45 * time.Second, TerminationDrain: 5 * time.Second, FlushInterval: 500 * time.Millisecond}
	got, diags := proxies(t, pods)
	if len(diags) > 0 || !reflect.DeepEqual(got["cart"], defaults) || got["pay"].Workers != 4 || got["pay"].Metadata["TEAM"] != "green" {
		t.Errorf("%+v, %v", got, diags)
	}
	got, diags = proxies(t, pods+`
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig:
      concurrency: 0
      proxyMetadata: {ISTIO_META_TEAM: blue, LOG: x}
      runtimeValues: {a.b: "true"}
      tracingServiceName: CANONICAL_NAME_AND_NAMESPACE
      drainDuration: 2s
      terminationDrainDuration: 3s
      fileFlushInterval: 4s
      fileFlushMinSizeKb: 5
      meshId: shops
      statsdUdpAddress: 127.0.0.1:8125
      holdApplicationUntilProxyStarts: true
      connectionSettings: {globalDownstreamConnectionLimit: 1000}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: pay}
spec:
  selector: {matchLabels: {app: pay}}
  concurrency: 6
  environmentVariables: {ISTIO_META_TEAM: red}
`)
	want := Proxy{
		Workers: 0, Cluster: "cart.default", MeshID: "shops", Metadata: map[string]string{"TEAM": "blue"}, Env: []string{"ISTIO_META_TEAM=blue", "LOG=x"},
		Runtime: map[string]string{"a.b": "true"}, Statsd: "127.0.0.1:8125", Drain: 2 * time.Second, TerminationDrain: 3 * time.Second,
		FlushInterval: 4 * time.Second, FlushKilobytes: 5, MaxConnections: 1000, Hold: true,
	}
	if len(diags) > 0 || !reflect.DeepEqual(got["cart"], want) {
		t.Errorf("%+v, want\n%+v, %v", got["cart"], want, diags)
	}
	if p := got["pay"]; p.Workers != 6 || p.Metadata["TEAM"] != "red" || p.Cluster != "pay.default" {
		t.Errorf("pay: %+v", p)
	}
}

// TestProxyOfGateway: the Deployment that runs a gateway has an annotation like any other; one that cannot be read is told of.
func TestProxyOfGateway(t *testing.T) {
	const gateway = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: shop}
spec:
  selector: {matchLabels: {istio: ingressgateway}}
  template:
    metadata: {labels: {istio: ingressgateway}, annotations: {proxy.istio.io/config: "NOTE"}}
    spec: {containers: [{name: istio-proxy}]}
`
	got, diags := proxies(t, strings.Replace(gateway, "NOTE", "concurrency: 2", 1))
	if len(diags) > 0 || got["edge"].Workers != 2 {
		t.Errorf("%+v, %v", got, diags)
	}
	got, diags = proxies(t, strings.Replace(gateway, "NOTE", "concurency: 2", 1))
	if len(diags) != 1 || !strings.Contains(diags[0].Message, "concurency") || got["edge"].Workers != 1 {
		t.Errorf("%+v, %v", got, diags)
	}
}
