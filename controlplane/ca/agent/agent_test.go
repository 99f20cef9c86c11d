package agent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	securityv1 "istio.io/api/security/v1alpha1"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
)

// serve runs a gRPC server in memory and returns a connection to it.
func serve(t *testing.T, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestRenewalReachesEnvoy: what Envoy's SDS stream gets, from the first certificate to the next, past an authority that fails.
func TestRenewalReachesEnvoy(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.SelfMade(t.TempDir(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	who := ca.ByToken{TrustDomain: "cluster.local", Keys: func() []crypto.PublicKey { return []crypto.PublicKey{key.Public()} }}
	conn := serve(t, ca.NewService(authority, who, slog.New(slog.DiscardHandler)).Register)
	a := agent.New(agent.Options{
		CA: securityv1.NewIstioCertificateServiceClient(conn), Log: slog.New(slog.DiscardHandler), TTL: 2 * time.Second,
		Token: func() (string, error) {
			if asked.Add(1) == 1 {
				return "no token", nil // refused: the agent tries again
			}
			return ca.Token(key, "default", "reviews", time.Now(), time.Hour)
		},
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()

	stream, err := secretv3.NewSecretDiscoveryServiceClient(serve(t, func(g *grpc.Server) { a.Register(ctx, g) })).StreamSecrets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	q := &discoveryv3.DiscoveryRequest{
		Node: &corev3.Node{Id: "sidecar~x"}, TypeUrl: resourcev3.SecretType, ResourceNames: []string{"default", "ROOTCA"},
	}
	chains := map[string]bool{}
	for len(chains) < 2 {
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.GetResources() {
			var s tlsv3.Secret
			if err := x.UnmarshalTo(&s); err != nil {
				t.Fatal(err)
			}
			if s.GetName() == "default" {
				chains[s.GetTlsCertificate().GetCertificateChain().GetInlineString()] = true
			} else if got := s.GetValidationContext().GetTrustedCa().GetInlineString(); strings.TrimSpace(got) != strings.TrimSpace(authority.Roots()) {
				t.Errorf("roots %q, want %q", got, authority.Roots())
			}
		}
		q.VersionInfo, q.ResponseNonce = r.GetVersionInfo(), r.GetNonce()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}
