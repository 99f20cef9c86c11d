package identity

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/mesh"}

func TestMain(m *testing.M) { shared.Main(m) }

const (
	reviews = "http://reviews:9080/"
	client  = "client-0"
)

// address of a workload's port, past any sidecar of a caller.
func address(t *testing.T, m *meshtest.Mesh, workload string, port int) string {
	t.Helper()
	for _, w := range m.Ready.Workloads {
		if w.Name == workload {
			return net.JoinHostPort(w.Address, fmt.Sprint(port))
		}
	}
	t.Fatalf("no workload %s", workload)
	return ""
}

// member is a TLS client with a certificate that the mesh's authority signed: it has the authority's own key.
func member(t *testing.T, m *meshtest.Mesh, id ca.Identity) *tls.Config {
	t.Helper()
	made, err := filepath.Glob(filepath.Join(m.Ready.State, "ca", "*Z"))
	if err != nil || len(made) == 0 {
		t.Fatal("no root in the mesh's state: ", err)
	}
	dir := t.TempDir()
	for from, to := range map[string]string{ca.CertFile: ca.CertFile, ca.KeyFile: ca.KeyFile, "../root-cert.pem": ca.RootFile} {
		raw, err := os.ReadFile(filepath.Join(made[0], from))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, err := ca.FromFiles(dir, ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, request, err := agent.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := authority.Sign([]byte(request), id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(chain))
	return &tls.Config{
		Certificates:       []tls.Certificate{{Certificate: [][]byte{block.Bytes}, PrivateKey: key}},
		InsecureSkipVerify: true, // SPIFFE names are not host names: verified here
		NextProtos:         []string{"istio-peer-exchange", "istio"},
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: authority.Pool()})
			return err
		},
	}
}

var someone = ca.Identity{TrustDomain: "cluster.local", Namespace: "default", ServiceAccount: "someone"}

// request sends one over a connection that dial makes; the status, or the error.
func request(conn net.Conn, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: reviews\r\nx-forwarded-client-cert: forged\r\nConnection: close\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return resp.Status, nil
}

func plaintext(addr string) (string, error) {
	return request(net.DialTimeout("tcp", addr, 5*time.Second))
}

// echoes tells whether a TCP port sends back what it gets in plaintext.
func echoes(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprintln(conn, "hello"); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && line == "hello\n"
}

// mutual tells of the answer and of the server's identity.
func mutual(addr string, c *tls.Config) (status, peer string, err error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, c)
	if err != nil {
		return "", "", err
	}
	if uris := conn.ConnectionState().PeerCertificates[0].URIs; len(uris) == 1 {
		peer = uris[0].String()
	}
	status, err = request(conn, nil)
	return status, peer, err
}

func policy(mode string) string {
	return "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: reviews}\nspec: {selector: {matchLabels: {app: reviews}}, mtls: {mode: " + mode + "}}\n"
}

// handshakes that the workload's sidecar has had on its port.
func handshakes(t *testing.T, m *meshtest.Mesh, workload string) int {
	return m.Stat(t, workload, `^listener\..*_9080\.ssl\.handshake$`)
}

func TestPermissiveTakesBoth(t *testing.T) {
	m := shared.Mesh(t)
	addr := address(t, m, "reviews-0", 9080)
	status, peer, err := mutual(addr, member(t, m, someone))
	if err != nil || status != "200 OK" {
		t.Errorf("mesh TLS: %q %v", status, err)
	}
	if want := "spiffe://cluster.local/ns/default/sa/bookinfo-reviews"; peer != want {
		t.Errorf("the server is %q, want %q", peer, want)
	}
	if status, err := plaintext(addr); err != nil || status != "200 OK" {
		t.Errorf("plaintext: %q %v", status, err)
	}
	if !echoes(address(t, m, "reviews-0", 9000)) {
		t.Error("plaintext on the TCP port is not echoed")
	}
	before := handshakes(t, m, "reviews-0")
	if a := m.From(t, client).Must(t, reviews); a.Code != 200 {
		t.Errorf("a workload's request got %d %s", a.Code, a.Body)
	}
	if now := handshakes(t, m, "reviews-0"); now != before+1 {
		t.Errorf("%d TLS handshakes for it, want 1: nobody has to ask for mutual TLS", now-before)
	}
	if a := m.From(t, client).Must(t, "http://plain:9080/"); a.Code != 200 {
		t.Errorf("a workload without a sidecar answered %d %s", a.Code, a.Body)
	}
}

func TestStrictRefusesPlaintext(t *testing.T) {
	m := shared.Mesh(t)
	addr := address(t, m, "reviews-0", 9080)
	conf := member(t, m, someone)
	m.Apply(t, policy("STRICT"))
	meshtest.Eventually(t, "plaintext is refused", func() bool { _, err := plaintext(addr); return err != nil })
	if status, _, err := mutual(addr, conf); err != nil || status != "200 OK" {
		t.Errorf("mesh TLS: %q %v", status, err)
	}
	nobody := conf.Clone()
	nobody.Certificates = nil
	if status, _, err := mutual(addr, nobody); err == nil {
		t.Errorf("a client without a certificate got %q", status)
	}
	m.From(t, client).Await(t, "a workload is let in", func(a meshtest.Answer) bool { return a.Code == 200 }, reviews)
	if echoes(address(t, m, "reviews-0", 9000)) {
		t.Error("plaintext on the TCP port is echoed")
	}
}

func TestDisableTakesPlaintextOnly(t *testing.T) {
	m := shared.Mesh(t)
	addr := address(t, m, "reviews-0", 9080)
	conf := member(t, m, someone)
	m.Apply(t, policy("DISABLE"))
	meshtest.Eventually(t, "TLS is refused", func() bool { _, _, err := mutual(addr, conf); return err != nil })
	c := m.From(t, client)
	c.Await(t, "plaintext is sent", func(a meshtest.Answer) bool { return a.Code == 200 }, reviews)
	if counts := c.Tally(t, 20, func(a meshtest.Answer) string { return fmt.Sprint(a.Code) }, reviews); counts["200"] != 20 {
		t.Errorf("answers %v", counts)
	}
}

func TestDestinationRuleDecides(t *testing.T) {
	m := shared.Mesh(t)
	rule := func(tls string) string {
		return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\nspec: {host: reviews, trafficPolicy: {tls: " + tls + "}}\n"
	}
	c := m.From(t, client)
	c.Must(t, reviews)
	t.Run("DISABLE", func(t *testing.T) {
		m.Apply(t, rule("{mode: DISABLE}"))
		before := handshakes(t, m, "reviews-0")
		counts := c.Tally(t, 20, func(a meshtest.Answer) string { return fmt.Sprint(a.Code) }, reviews)
		if now := handshakes(t, m, "reviews-0"); counts["200"] != 20 || now != before {
			t.Errorf("answers %v, %d TLS handshakes", counts, now-before)
		}
	})
	t.Run("ISTIO_MUTUAL to somebody else", func(t *testing.T) {
		m.Apply(t, rule(`{mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://cluster.local/ns/default/sa/other"]}`))
		c.Await(t, "the server is not who was expected", func(a meshtest.Answer) bool {
			return a.Code == 503
		}, reviews)
		if n := m.Stat(t, client, `9080.*reviews.*ssl\.fail_verify_san$`); n == 0 {
			t.Error("no certificate was refused for its name")
		}
	})
	t.Run("ISTIO_MUTUAL", func(t *testing.T) {
		m.Apply(t, policy("STRICT"))
		m.Apply(t, rule(`{mode: ISTIO_MUTUAL}`))
		c.Await(t, "mesh TLS is sent", func(a meshtest.Answer) bool { return a.Code == 200 }, reviews)
	})
}

// TestApplicationKnowsItsCaller: by x-forwarded-client-cert, which nobody but its sidecar writes.
func TestApplicationKnowsItsCaller(t *testing.T) {
	m := shared.Mesh(t)
	header := func(a meshtest.Answer) string {
		var echo struct{ Headers map[string][]string }
		if err := json.Unmarshal([]byte(a.Body), &echo); err != nil {
			t.Fatalf("%v in %s", err, a.Body)
		}
		for k, v := range echo.Headers {
			if strings.EqualFold(k, "x-forwarded-client-cert") {
				return strings.Join(v, ",")
			}
		}
		return ""
	}
	a := m.From(t, client).Must(t, reviews+"echo", "accept: application/json", "x-forwarded-client-cert: URI=spiffe://cluster.local/ns/default/sa/admin")
	if got := header(a); !strings.Contains(got, "URI=spiffe://cluster.local/ns/default/sa/bookinfo-client") || strings.Contains(got, "admin") {
		t.Errorf("the application sees %q", got)
	}
}

func TestSecretsAreShown(t *testing.T) {
	m := shared.Mesh(t)
	out, code := m.Run(t, "", "proxy-config", "secrets", "reviews-0")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || !strings.HasPrefix(lines[0], "RESOURCE NAME") {
		t.Fatalf("exit %d:\n%s", code, out)
	}
	for i, want := range []string{"default Cert Chain ACTIVE true", "ROOTCA CA ACTIVE true"} {
		if got := strings.Join(strings.Fields(lines[i+1]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %q, want %q", got, want)
		}
	}
}
