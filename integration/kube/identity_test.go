package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
	securityv1 "istio.io/api/security/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/vault"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// plane is a control plane in this process.
type plane struct {
	t                   *testing.T
	c                   *kubetest.Cluster
	system              string // its namespace
	xds, secure, server string // server is its name in certificates
}

func startPlane(t *testing.T, c *kubetest.Cluster, system string) *plane {
	t.Helper()
	p := &plane{t: t, c: c, system: system, server: "mizzen-controlplane." + system + ".svc"}
	ctx, cancel := context.WithCancel(context.Background())
	cluster := &run.Cluster{Config: c.Config(t), Namespace: system}
	up, done := make(chan [2]string, 1), make(chan error, 1)
	var plain string
	go func() {
		done <- run.Run(ctx, run.Options{
			Cluster: cluster, XDSAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Modules: t.TempDir(),
			Identity:  &run.Identity{Addr: "127.0.0.1:0", Cluster: cluster},
			Listening: func(xds, _ net.Addr) { plain = xds.String() },
			Secured:   func(a net.Addr) { up <- [2]string{plain, a.String()} },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case addrs := <-up:
		p.xds, p.secure = addrs[0], addrs[1]
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return p
}

// roots is the trust bundle as the Secret has it.
func (p *plane) roots(secret string) string {
	p.t.Helper()
	s, err := p.c.Client(p.t).CoreV1().Secrets(p.system).Get(p.t.Context(), secret, metav1.GetOptions{})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(s.Data[ca.RootFile])
}

func poolOf(bundle string) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(bundle))
	return pool
}

// dial connects with TLS, as clients that trust the roots.
func (p *plane) dial(roots string) *grpc.ClientConn {
	return p.connect(p.secure, credentials.NewTLS(&tls.Config{RootCAs: poolOf(roots), ServerName: p.server}))
}

func (p *plane) connect(addr string, creds credentials.TransportCredentials) *grpc.ClientConn {
	p.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func with(t *testing.T, token string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// certificate has a new key signed.
func certificate(t *testing.T, ctx context.Context, conn *grpc.ClientConn) (*x509.Certificate, error) {
	t.Helper()
	cert, _, err := signed(t, ctx, conn)
	return cert, err
}

// signed is certificate, with the roots that come with it.
func signed(t *testing.T, ctx context.Context, conn *grpc.ClientConn) (cert *x509.Certificate, roots string, err error) {
	t.Helper()
	_, request, err := agent.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := securityv1.NewIstioCertificateServiceClient(conn).CreateCertificate(ctx, &securityv1.IstioCertificateRequest{Csr: request})
	if err != nil {
		return nil, "", err
	}
	chain := answer.GetCertChain()
	block, _ := pem.Decode([]byte(chain[0]))
	if cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		t.Fatal(err)
	}
	return cert, chain[len(chain)-1], nil
}

// clusters opens a stream as a proxy that says it has labels, and gives the names in the first answer.
func clusters(ctx context.Context, conn *grpc.ClientConn, id string, labels map[string]any) ([]string, error) {
	st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return nil, err
	}
	md, err := structpb.NewStruct(map[string]any{"LABELS": labels})
	if err != nil {
		return nil, err
	}
	_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: xdsgen.TypeCluster, Node: &corev3.Node{Id: id, Metadata: md}})
	answer, err := st.Recv()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range answer.GetResources() {
		names = append(names, r.GetName())
	}
	return names, nil
}

func nodeID(kind, ip, pod, ns string) string {
	return fmt.Sprintf("%s~%s~%s.%s~%s.svc.cluster.local", kind, ip, pod, ns, ns)
}

// TestIdentity: in a cluster a workload is who its token says to the API server, its proxy gets what its Pod may have and not what it
// says of itself, and every replica signs with the same root.
func TestIdentity(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	system, ns := c.Namespace(t, "system", nil), c.Namespace(t, "shop", nil)
	client := dynamicClient(t, c)
	apply(t, client, strings.NewReplacer("SYSTEM", system, "NS", ns).Replace(`
{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: SYSTEM}, data: {mesh: "trustDomain: td.test"}}
---
{apiVersion: v1, kind: Pod, metadata: {name: reviews-0, namespace: NS, labels: {app: reviews}}, spec: {serviceAccountName: reviews, containers: [{name: a, image: a, ports: [{containerPort: 9080}]}]}, status: {phase: Running, podIP: 10.9.0.1}}
---
{apiVersion: v1, kind: Service, metadata: {name: reviews, namespace: NS}, spec: {clusterIP: None, selector: {app: reviews}, ports: [{name: http, port: 9080}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: admin, namespace: NS}, spec: {clusterIP: None, selector: {app: admin}, ports: [{name: http, port: 9999}]}}`))
	p := startPlane(t, c, system)
	conn := p.dial(p.roots(vault.Made))
	token := c.Token(t, ns, "reviews", ca.Audience)

	cert, err := certificate(t, with(t, token), conn)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cert.URIs[0].String(), "spiffe://td.test/ns/"+ns+"/sa/reviews"; got != want {
		t.Errorf("a certificate of %s, want %s", got, want)
	}
	for name, token := range map[string]string{"none": "", "nonsense": "x", "for the API server": c.Token(t, ns, "reviews")} {
		if _, err := certificate(t, with(t, token), conn); err == nil {
			t.Errorf("a certificate for a token that is %s", name)
		}
	}

	names, err := clusters(with(t, token), conn, nodeID("sidecar", "10.9.0.1", "reviews-0", ns), map[string]any{"app": "admin"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(names, "inbound|9080||") || slices.Contains(names, "inbound|9999||") {
		t.Errorf("a proxy of pod reviews-0 that says it is admin gets %v", names)
	}
	plain := p.connect(p.xds, insecure.NewCredentials())
	for _, x := range []struct {
		name, token, id, want string
		conn                  *grpc.ClientConn
	}{
		{"another account's", c.Token(t, ns, "other", ca.Audience), nodeID("sidecar", "10.9.0.1", "reviews-0", ns), "may not be a proxy of service account reviews", conn},
		{"another address", token, nodeID("sidecar", "10.9.0.2", "reviews-0", ns), "the cluster has no pod " + ns + "/reviews-0 with address 10.9.0.2", conn},
		{"another namespace", token, nodeID("sidecar", "10.9.0.1", "reviews-0", system), "may not be a proxy of namespace " + system, conn},
		{"a gateway in plaintext", "", nodeID("router", "10.9.0.1", "reviews-0", ns), "a gateway has to prove its identity", plain},
	} {
		if _, err := clusters(with(t, x.token), x.conn, x.id, nil); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error %v, want %q", x.name, err, x.want)
		}
	}

	second := startPlane(t, c, system)
	other, err := certificate(t, with(t, token), second.dial(p.roots(vault.Made)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(x509.VerifyOptions{Roots: poolOf(p.roots(vault.Made)), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("what the second replica signs: %v", err)
	}
}

// TestGivenAuthority: Secret cacerts goes before one that is made, and a new root in it is trusted without a restart.
func TestGivenAuthority(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	system := c.Namespace(t, "given", nil)
	one, two := material(t), material(t)
	secrets := c.Client(t).CoreV1().Secrets(system)
	s, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: vault.Given}, Data: one}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := vault.Open(t.Context(), c.Client(t), system, ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := v.Authority().Roots(); got != string(one[ca.RootFile]) {
		t.Errorf("trusts\n%s\nwant\n%s", got, one[ca.RootFile])
	}
	s.Data[ca.RootFile] = append(slices.Clone(one[ca.RootFile]), two[ca.RootFile]...)
	if s, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := v.Keep(t.Context()); err != nil || v.Authority().Roots() != string(s.Data[ca.RootFile]) {
		t.Errorf("%v: trusts\n%s", err, v.Authority().Roots())
	}
	s.Data[ca.KeyFile] = two[ca.KeyFile]
	if _, err = secrets.Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := v.Keep(t.Context()); err == nil || !strings.Contains(err.Error(), "does not belong to the certificate") {
		t.Errorf("a key of another certificate: %v", err)
	}
	if list, err := secrets.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
		t.Errorf("Secrets %v, %v", list, err)
	}
}

// material is an authority as Istio keeps it.
func material(t *testing.T) ca.Material {
	t.Helper()
	a, err := ca.Shared(ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := a.Renew(nil, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return ca.Material{ca.CertFile: m[ca.CertFile], ca.KeyFile: m[ca.KeyFile], ca.RootFile: m[ca.RootFile], ca.ChainFile: m[ca.ChainFile]}
}

// TestReplicasMakeOneRoot: of many that start at once in a new cluster, one makes the root of all.
func TestReplicasMakeOneRoot(t *testing.T) {
	c := side(t)
	system := c.Namespace(t, "race", nil)
	client := c.Client(t)
	var roots [8]string
	var all sync.WaitGroup
	for i := range roots {
		all.Go(func() {
			v, err := vault.Open(t.Context(), client, system, ca.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			roots[i] = v.Authority().Roots()
		})
	}
	all.Wait()
	for _, r := range roots {
		if r != roots[0] || strings.Count(r, "BEGIN") != 1 {
			t.Fatalf("the replicas trust %v", roots)
		}
	}
}
