package run

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	securityv1 "istio.io/api/security/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// secured is a control plane with an authority.
type secured struct {
	addr string
	key  *ecdsa.PrivateKey // signs tokens
	dir  string            // the authority's
}

func startSecured(t *testing.T) secured {
	t.Helper()
	dir := t.TempDir()
	s := secured{dir: filepath.Join(dir, "ca")}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(dir, "keys.pem")
	if err := os.WriteFile(keys, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config")
	if err := os.Mkdir(config, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(config, "a.yaml"), []byte(service), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	up, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Paths: []string{config}, XDSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
			Identity: &Identity{Addr: "127.0.0.1:0", Dir: s.dir, TokenKeys: keys, Names: []string{"istiod.istio-system.svc"}},
			Secured:  func(a net.Addr) { up <- a.String() },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case s.addr = <-up:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return s
}

// dial connects, with a client certificate if there is one. The server must prove its name.
func (s secured) dial(t *testing.T, certs ...tls.Certificate) *grpc.ClientConn {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, ca.RootFile))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: roots, ServerName: "istiod.istio-system.svc", Certificates: certs,
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (s secured) as(t *testing.T, namespace, account string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	token, err := ca.Token(s.key, namespace, account, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// proxy opens a stream as a proxy of a namespace and service account; the error that ends it, nil if it gets an answer.
func proxy(t *testing.T, ctx context.Context, conn *grpc.ClientConn, namespace, account string) error {
	t.Helper()
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	md, err := structpb.NewStruct(map[string]any{"NAMESPACE": namespace, "SERVICE_ACCOUNT": account})
	if err != nil {
		t.Fatal(err)
	}
	_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xdsgen.TypeCluster, Node: &corev3.Node{
		Id: "sidecar~127.1.0.9~x." + namespace + "~" + namespace + ".svc.cluster.local", Metadata: md,
	}})
	_, err = st.Recv()
	return err
}

// TestProxyIsWhoItProves: on the listener with TLS a proxy gets what its identity may have, proved by token or certificate, and
// nothing else.
func TestProxyIsWhoItProves(t *testing.T) {
	s := startSecured(t)
	conn := s.dial(t)
	nobody, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	key, request, err := agent.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	q := &securityv1.IstioCertificateRequest{Csr: request}
	authority := securityv1.NewIstioCertificateServiceClient(conn)
	if _, err := authority.CreateCertificate(nobody, q); err == nil {
		t.Error("a certificate for nobody")
	}
	answer, err := authority.CreateCertificate(s.as(t, "default", "reviews"), q)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(answer.GetCertChain()[0]))
	certified := s.dial(t, tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key})
	for _, c := range []struct {
		name               string
		ctx                context.Context
		conn               *grpc.ClientConn
		namespace, account string
		want               string // of the refusal; "" let in
	}{
		{"nobody", nobody, conn, "default", "reviews", "is needed"},
		{"by token", s.as(t, "default", "reviews"), conn, "default", "reviews", ""},
		{"by token, account unsaid", s.as(t, "default", "reviews"), conn, "default", "", ""},
		{"of another namespace", s.as(t, "default", "reviews"), conn, "istio-system", "reviews", "may not be a proxy of namespace istio-system"},
		{"of another account", s.as(t, "default", "reviews"), conn, "default", "admin", "may not be a proxy of service account admin"},
		{"by certificate", nobody, certified, "default", "reviews", ""},
		{"by certificate, of another namespace", nobody, certified, "other", "reviews", "may not be a proxy of namespace other"},
		{"with a token of nobody's", metadata.AppendToOutgoingContext(nobody, "authorization", "Bearer x"), conn, "default", "reviews", "verify token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := proxy(t, c.ctx, c.conn, c.namespace, c.account)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
