package scenarios

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 22: HTTP/1.1 is everywhere else; here what else goes through the gateway and the sidecars.
func TestProtocols(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, `
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: protocols}
spec:
  hosts: ["*"]
  gateways: [bookshop]
  http:
  - match: [{uri: {prefix: /grpc.health.v1.Health/}}, {uri: {prefix: /example.Greeter/}}]
    route: [{destination: {host: greeter}}]
  - route: [{destination: {host: details}}]
`)
	m.ViaGateway().Await(t, "the gateway's rule", hasCode(200), "/")
	gateway, sidecar := strings.TrimPrefix(m.Gateway(), "http://"), m.Proxy(t, "productpage-v1-0")
	t.Run("HTTP/2", func(t *testing.T) { checkH2C(t, m.Gateway()+"/") })
	t.Run("gRPC/gateway", func(t *testing.T) { checkGRPC(t, toGateway(m), "bookshop.example.com") })
	t.Run("gRPC/sidecar", func(t *testing.T) { checkGRPC(t, toGreeter(t, m), "greeter:80") })
	t.Run("WebSocket/gateway", func(t *testing.T) {
		checkWebSocket(t, gateway, "ws://"+gateway+"/chat")
	})
	t.Run("WebSocket/sidecar", func(t *testing.T) {
		checkWebSocket(t, sidecar, "ws://details:9080/chat")
	})
	t.Run("TCP", func(t *testing.T) {
		const connections = `^cluster\.outbound\|6379\|\|redis.*upstream_cx_total$`
		before := m.Stat(t, "productpage-v1-0", connections)
		checkTCP(t, redis(t, m))
		meshtest.Eventually(t, "the connection is counted", func() bool { return m.Stat(t, "productpage-v1-0", connections) == before+1 })
	})
}

// dial makes a connection.
type dial func() (net.Conn, error)

func toGateway(m *meshtest.Mesh) dial {
	return func() (net.Conn, error) {
		return net.DialTimeout("tcp", strings.TrimPrefix(m.Gateway(), "http://"), 5*time.Second)
	}
}

// toGreeter connects to the gRPC service as productpage does.
func toGreeter(t *testing.T, m *meshtest.Mesh) dial {
	return m.Dialer(t, "productpage-v1-0", "greeter:80", "15001")
}

// redis connects to the TCP service as productpage does.
func redis(t *testing.T, m *meshtest.Mesh) dial {
	return m.Dialer(t, "productpage-v1-0", "redis:6379", "6379")
}

func checkH2C(t *testing.T, target string) {
	res, err := meshtest.HTTP2(t, new(net.Dialer).DialContext).Get(target)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("got %d over %s", res.StatusCode, res.Proto)
	}
}

// checkGRPC asks for the health, then echoes a stream of three messages, each answered before the next is sent.
func checkGRPC(t *testing.T, to dial, authority string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn := dialGRPC(t, to, authority)
	got, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || got.Status != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v %v", got, err)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/example.Greeter/Hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two", "three"} {
		if err := stream.SendMsg(&healthv1.HealthCheckRequest{Service: word}); err != nil {
			t.Fatal(err)
		}
		back := new(healthv1.HealthCheckRequest)
		if err := stream.RecvMsg(back); err != nil || back.Service != word {
			t.Fatalf("sent %q, got %q (%v)", word, back.Service, err)
		}
	}
	if md, err := stream.Header(); err != nil || strings.Join(md.Get("service"), "") != "greeter" {
		t.Errorf("answered by %v (%v)", md, err)
	}
}

func dialGRPC(t *testing.T, to dial, authority string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+authority, grpc.WithAuthority(authority), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return to() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func checkWebSocket(t *testing.T, addr, target string) {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	config, err := websocket.NewConfig(target, "http://"+u.Host)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := websocket.NewClient(config, conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"one", "two"} {
		if err := websocket.Message.Send(ws, word); err != nil {
			t.Fatal(err)
		}
		var back string
		if err := websocket.Message.Receive(ws, &back); err != nil || back != word {
			t.Fatalf("sent %q, got %q (%v)", word, back, err)
		}
	}
}

func checkTCP(t *testing.T, to dial) {
	conn, err := to()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	const ping = "*1\r\n$4\r\nPING\r\n"
	if _, err := conn.Write([]byte(ping)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(ping))
	if n, err := conn.Read(b); err != nil || string(b[:n]) != ping {
		t.Errorf("got %q (%v)", b[:n], err)
	}
}
