package authz

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// doorkeeper lets in whom it is told to: requests with x-pass: yes, and, once opened, connections.
type doorkeeper struct {
	authv3.UnimplementedAuthorizationServer
	mu   sync.Mutex
	open bool
}

func (d *doorkeeper) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := r.GetAttributes().GetRequest().GetHttp()
	if h == nil {
		if d.open {
			return &authv3.CheckResponse{Status: &status.Status{Code: int32(codes.OK)}}, nil
		}
	} else if h.GetHeaders()["x-pass"] == "yes" {
		return &authv3.CheckResponse{
			Status: &status.Status{Code: int32(codes.OK)},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				ResponseHeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-checked", Value: "yes"}}},
			}},
		}, nil
	}
	return &authv3.CheckResponse{
		Status: &status.Status{Code: int32(codes.PermissionDenied)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode_PaymentRequired}, Body: "not here",
		}},
	}, nil
}

// An external authorizer that speaks gRPC is asked about requests, and about connections of plain TCP.
func TestCustomGRPC(t *testing.T) {
	m := shared.Mesh(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	keeper, s := &doorkeeper{}, grpc.NewServer()
	authv3.RegisterAuthorizationServer(s, keeper)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	m.Apply(t, strings.ReplaceAll(`
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "extensionProviders: [{name: keeper, envoyExtAuthzGrpc: {service: keeper.example, port: PORT, timeout: 5s}}]"}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: keeper}
spec: {hosts: [keeper.example], ports: [{number: PORT, name: grpc, protocol: GRPC}], resolution: STATIC, endpoints: [{address: 127.0.0.1}]}
---
`, "PORT", fmt.Sprint(l.Addr().(*net.TCPAddr).Port))+policy("custom", "  action: CUSTOM\n  provider: {name: keeper}\n  rules: [{}]"))
	c := m.From(t, pod(t, m, "robot"))
	if a := c.Await(t, "the refusal", hasCode(402), api); a.Body != "not here" {
		t.Errorf("got %q", a.Body)
	}
	if a := c.Must(t, api, "x-pass: yes"); a.Code != 200 || a.Header.Get("x-checked") != "yes" {
		t.Errorf("let in: %d %v", a.Code, a.Header)
	}
	addr := address(t, m, "api") + ":6379"
	meshtest.Eventually(t, "the connection is refused", func() bool { return !echoes(addr) })
	keeper.mu.Lock()
	keeper.open = true
	keeper.mu.Unlock()
	meshtest.Eventually(t, "the connection is let in", func() bool { return echoes(addr) })
}
