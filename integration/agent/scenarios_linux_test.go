package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

const gateway = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: customer, namespace: default}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["shop.example"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: customer, namespace: default}
spec:
  hosts: ["shop.example"]
  gateways: [customer]
  http:
  - match: [{uri: {prefix: /customer/v2}}]
    rewrite: {uri: /}
    route: [{destination: {host: recommendation, port: {number: 8080}}}]
  - match: [{uri: {prefix: /customer}}]
    rewrite: {uri: /}
    route: [{destination: {host: customer, port: {number: 8080}}}]
`

// ingress: nothing answers before there is a rule; then the host and the paths do, the first that fits, and no other.
func (w *world) ingress(t *testing.T) {
	outside := w.client
	at := w.pods["istio-ingressgateway"].url(80, "")
	if body, code := outside.curl("-H", "Host: shop.example", at+"/customer"); code != 0 {
		t.Errorf("without a rule: status %d, %s", code, body)
	}
	w.only(t, gateway)
	envoytest.Await(t, 30*time.Second, "the gateway answers", func() bool {
		_, code := outside.curl("-H", "Host: shop.example", at+"/customer")
		return code == 200
	})
	for _, c := range []struct{ host, path, want string }{
		{"shop.example", "/customer", "customer v1 (customer-v1-0) => preference v1"}, {"shop.example", "/customer/v2", "recommendation v"},
		{"shop.example", "/other", ""}, {"other.example", "/customer", ""},
	} {
		body, code := outside.curl("-H", "Host: "+c.host, at+c.path)
		if (code == 200) != (c.want != "") || c.want == "" && code != 404 || !strings.HasPrefix(body, c.want) {
			t.Errorf("%s%s: status %d, %s", c.host, c.path, code, body)
		}
	}
	if a := outside.seen(t, at+"/customer", "-H", "Host: shop.example"); a.Path != "/" {
		t.Errorf("the application saw path %s, want /", a.Path)
	}
}

// mutualTLS: where it is strict, the mesh goes on, plaintext is refused, and kubelet's probes pass.
func (w *world) mutualTLS(t *testing.T) {
	customer, outside := w.pods["customer-v1"], w.client
	if _, code := outside.curl(w.web("10.88.0.12", 8080)); code != 200 {
		t.Errorf("plaintext from outside, permissive: status %d", code)
	}
	w.only(t, `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: preference, namespace: default}
spec: {host: preference, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
`)
	envoytest.Await(t, 30*time.Second, "plaintext is refused", func() bool {
		_, code := outside.curl(w.web("10.88.0.12", 8080))
		return code == 0
	})
	if body, code := customer.curl("http://customer:8080/"); code != 200 || !strings.Contains(body, "recommendation") {
		t.Errorf("within the mesh: status %d, %s", code, body)
	}
	w.probes(t)
	if got := w.status(w.pods["preference-v1"].url(15021, "/healthz/ready")); got != 200 {
		t.Errorf("readiness: status %d", got)
	}
}

// protocols: whatever services speak passes.
func (w *world) protocols(t *testing.T) {
	customer := w.pods["customer-v1"]
	for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
		if body, code := customer.curl(version, "http://recommendation:8080/"); code != 200 {
			t.Errorf("%s: status %d, %s", version, code, body)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(w.ip("10.96.0.13"), "9090"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("recommendation:9090"),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return customer.Dial(ctx, "tcp", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC: %v, %v", r, err)
	}
	raw, err := customer.Dial(ctx, "tcp", net.JoinHostPort(w.ip("10.96.0.13"), "9000"))
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(raw, "ping")
	if said, err := bufio.NewReader(raw).ReadString('\n'); err != nil || said != "ping\n" {
		t.Errorf("TCP: %q, %v", said, err)
	}
	_ = raw.Close()
	counted := regexp.MustCompile(`istio_tcp_connections_opened_total\{[^}]*destination_service_name="recommendation"[^}]*\} [1-9]`)
	envoytest.Await(t, 15*time.Second, "the connection is counted", func() bool {
		return counted.MatchString(w.page(t, customer.url(15020, "/stats/prometheus")))
	})
	under, err := customer.Dial(ctx, "tcp", net.JoinHostPort(w.ip("10.96.0.13"), "8080"))
	if err != nil {
		t.Fatal(err)
	}
	defer under.Close()
	_ = under.SetDeadline(time.Now().Add(10 * time.Second))
	config, err := websocket.NewConfig("ws://recommendation:8080/", "http://recommendation:8080/")
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(config, under)
	if err != nil {
		t.Fatalf("WebSocket: %v", err)
	}
	said := make([]byte, 4)
	_, _ = io.WriteString(ws, "pong")
	if _, err := io.ReadFull(ws, said); err != nil || string(said) != "pong" {
		t.Errorf("WebSocket: %q, %v", said, err)
	}
}
