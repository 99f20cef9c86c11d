package kube

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/vault"
	"github.com/mizzen-mesh/mizzen/controlplane/status"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/installer"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// account leads requests to an API server as one service account, and takes down which of them it may not make.
type account struct {
	kubeconfig string

	mu     sync.Mutex
	denied []string
	count  int
}

func newAccount(t *testing.T, c *kubetest.Cluster, namespace, name string) *account {
	t.Helper()
	a := &account{}
	config := c.Config(t)
	to, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	config.BearerToken = c.Token(t, namespace, name)
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(q *httputil.ProxyRequest) { q.SetURL(to) }, Transport: transport, FlushInterval: -1, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0),
		ModifyResponse: func(resp *http.Response) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.count++
			if resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized {
				a.denied = append(a.denied, resp.Request.Method+" "+resp.Request.URL.RequestURI())
			}
			return nil
		},
	})
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	a.kubeconfig = c.WriteKubeconfig(t, &rest.Config{Host: s.URL})
	return a
}

// TestRights: with the chart's roles and nothing else the control plane, the injector and the rate-limit server do all of their work, and
// ask for nothing that they may not have.
func TestRights(t *testing.T) {
	place(t)
	c := kubetest.Start(t, kubetest.Options{})
	const system = "istio-system"
	client := c.Client(t)
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := installer.Install(t.Context(), installer.Options{
		Kubeconfig: c.Kubeconfig(), Values: map[string]any{"ratelimit": map[string]any{"enabled": true}}, Out: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	webhook := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	lead(t, c, "validatingwebhookconfiguration/mizzen-validator", "https://"+strings.Replace(webhook, "127.0.0.1", "localhost", 1)+"/validate")
	ns, dyn := c.Namespace(t, "shop", nil), dynamicClient(t, c)
	apply(t, dyn, placed(ns, `
{apiVersion: v1, kind: Pod, metadata: {name: curl, namespace: NS}, spec: {serviceAccountName: curl, containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 10.9.3.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: gw, namespace: istio-system, labels: {istio: ingressgateway}}, spec: {containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 10.9.3.2}}
---
{apiVersion: v1, kind: Secret, metadata: {name: shop, namespace: istio-system}, stringData: {tls.crt: a, tls.key: b}}
---
{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: shop, namespace: NS}, spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: shop}}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: one, namespace: NS}, spec: {hosts: [one.example.com], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.9.9.9}]}}
---
{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: wrong, namespace: NS}, spec: {exportTo: [.]}}`))

	planes, injector, limits := newAccount(t, c, system, "mizzen-controlplane"), newAccount(t, c, system, "mizzen-injector"), newAccount(t, c, system, "mizzen-ratelimit")
	secure := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	replica := func(secure, webhook string) *process {
		return startReplica(t, "--kubeconfig", planes.kubeconfig, "--namespace", system, "--secure-addr", secure, "--webhook-addr", webhook, "--webhook-names", "localhost")
	}
	replicas := []*process{replica(secure, webhook), replica("127.0.0.1:0", "127.0.0.1:0")}
	at := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	other := []*process{
		startProcess(t, "injector", "--kubeconfig", injector.kubeconfig, "--namespace", system, "--addr", "127.0.0.1:0", "--http-addr", at),
		startProcess(t, "ratelimit", "--kubeconfig", limits.kubeconfig, "--namespace", system, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"),
	}
	await(t, "the injector is ready", func() bool {
		resp, err := http.Get("http://" + at + "/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})

	await(t, "a wrong object says so", func() bool { return strings.Contains(says(t, dyn, "dr", ns, "wrong"), "host is required") })
	var hangUp []func()
	for _, r := range replicas {
		hangUp = append(hangUp, refuse(t, r.xds, nodeID("sidecar", "10.9.3.1", "curl", ns), "outbound|80||one.example.com"))
	}
	await(t, "what a proxy refuses is told by both", func() bool {
		return strings.Contains(says(t, dyn, "serviceentry", ns, "one"), "NotServed") && len(notes(t, c, system)) == 2
	})
	for _, f := range hangUp {
		f()
	}
	await(t, "it is forgotten", func() bool { return says(t, dyn, "serviceentry", ns, "one") == "" && len(notes(t, c, system)) == 0 })

	m, err := client.CoreV1().ConfigMaps(ns).Get(t.Context(), status.RootsConfigMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, c: c, system: system, secure: secure, server: "mizzen-controlplane." + system + ".svc"}
	if _, err := certificate(t, with(t, c.Token(t, ns, "curl", ca.Audience)), p.dial(m.Data[status.RootsKey])); err != nil {
		t.Errorf("a certificate: %v", err)
	}
	if _, err := client.CoreV1().Secrets(system).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: vault.Given}, Data: material(t)}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "cacerts is taken up", func() bool { return strings.Count(p.roots(vault.Made), "BEGIN") == 2 })
	await(t, "the new roots are in every namespace", func() bool {
		m, err := client.CoreV1().ConfigMaps(ns).Get(t.Context(), status.RootsConfigMap, metav1.GetOptions{})
		return err == nil && strings.Count(m.Data[status.RootsKey], "BEGIN") == 2
	})
	await(t, "the API server is told to trust the injector", func() bool {
		return c.Kubectl(t, "", "get", "mutatingwebhookconfiguration/mizzen-sidecar-injector", "-ojsonpath={.webhooks[0].clientConfig.caBundle}") != ""
	})
	await(t, "the validating webhook fails closed", func() bool {
		return c.Kubectl(t, "", "get", "validatingwebhookconfiguration/mizzen-validator", "-ojsonpath={.webhooks[0].failurePolicy}") == "Fail"
	})

	for name, a := range map[string]*account{"mizzen-controlplane": planes, "mizzen-injector": injector, "mizzen-ratelimit": limits} {
		a.mu.Lock()
		slices.Sort(a.denied)
		if denied := slices.Compact(a.denied); len(denied) > 0 || a.count == 0 {
			t.Errorf("%s made %d requests, and may not\n%s", name, a.count, strings.Join(denied, "\n"))
		}
		a.mu.Unlock()
	}
	for _, r := range append(replicas, other...) {
		for line := range strings.Lines(r.Log()) {
			if strings.Contains(strings.ToLower(line), "forbidden") {
				t.Errorf("%s logs %s", r.name, line)
			}
		}
	}
}

// lead has the API server ask a webhook at a URL: Services lead nowhere here.
func lead(t *testing.T, c *kubetest.Cluster, configuration, url string) {
	t.Helper()
	c.Kubectl(t, "", "patch", configuration, "--type=json", "-p",
		`[{"op": "remove", "path": "/webhooks/0/clientConfig/service"}, {"op": "add", "path": "/webhooks/0/clientConfig/url", "value": "`+url+`"}]`)
}

// refuse connects as a proxy that refuses one cluster, until hangUp is called.
func refuse(t *testing.T, addr, id, cluster string) (hangUp func()) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	hangUp = func() { cancel(); _ = conn.Close() }
	t.Cleanup(hangUp)
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xdsgen.TypeCluster, Node: &corev3.Node{Id: id}})
	answer, err := st.Recv()
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{
		TypeUrl: xdsgen.TypeCluster, ResponseNonce: answer.GetNonce(), ErrorDetail: &rpcstatus.Status{Code: 13, Message: "Error adding/updating cluster(s) " + cluster + ": no"},
	})
	go func() {
		for {
			if _, err := st.Recv(); err != nil {
				return
			}
		}
	}()
	return hangUp
}
