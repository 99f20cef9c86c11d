package edges

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

var shared = meshtest.Shared{Manifests: "testdata/shop"}

func TestMain(m *testing.M) { shared.Main(m) }

// tlsAddress is where the gateway's port 443 is reached.
func tlsAddress(m *meshtest.Mesh) string {
	return strings.TrimPrefix(m.Ready.Gateways[0].HTTPS, "https://")
}

// get sends one request over TLS, asking for host; it returns the connection's state too.
func get(m *meshtest.Mesh, host string, config *tls.Config) (*http.Response, error) {
	config = config.Clone()
	config.ServerName = host
	tr := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	req, err := http.NewRequest("GET", "https://"+tlsAddress(m)+"/", nil)
	if err != nil {
		return nil, err
	}
	req.Host = host
	res, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}

// Done when 2, TLS gateway with a Secret: the client sees the Secret's certificate; a new one in the Secret is seen by new
// connections while those that stand go on.
func TestSecretAtGateway(t *testing.T) {
	m := shared.Mesh(t)
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	m.Apply(t, first.secret(t, "shop-cert", "shop.example.com"))

	var res *http.Response
	meshtest.Eventually(t, "the gateway serves TLS", func() bool {
		r, err := get(m, "shop.example.com", &tls.Config{RootCAs: first.pool()})
		res = r
		return err == nil && r.StatusCode == 200
	})
	if got := res.TLS.PeerCertificates[0].Issuer.CommonName; got != "first" {
		t.Errorf("the certificate is of %s, want first", got)
	}
	if res.Proto != "HTTP/2.0" {
		t.Errorf("the gateway speaks %s, want HTTP/2.0 by ALPN", res.Proto)
	}
	if _, err := get(m, "other.example.com", &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a name that no server has got an answer")
	}
	if a := m.ViaGateway().Must(t, "/", "Host: shop.example.com"); a.Code != 301 || !strings.HasPrefix(a.Header.Get("Location"), "https://") {
		t.Errorf("plain HTTP got %d %s, want a redirect to HTTPS", a.Code, a.Header.Get("Location"))
	}

	old, err := tls.Dial("tcp", tlsAddress(m), &tls.Config{RootCAs: first.pool(), ServerName: "shop.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	m.Apply(t, second.secret(t, "shop-cert", "shop.example.com"))
	meshtest.Eventually(t, "the new certificate", func() bool {
		r, err := get(m, "shop.example.com", &tls.Config{RootCAs: second.pool()})
		return err == nil && r.StatusCode == 200
	})
	fmt.Fprintf(old, "GET / HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(old)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Errorf("the connection from before the change got %q, %v", answer, err)
	}
}

// MUTUAL: a client without a certificate, or with one of another authority, gets nowhere; one of ca.crt's does.
func TestMutualAtGateway(t *testing.T) {
	m := shared.Mesh(t)
	ours, other := newAuthority(t, "ours"), newAuthority(t, "other")
	m.Apply(t, ours.secret(t, "mutual-cert", "mutual.example.com"))
	config := func(as ...tls.Certificate) *tls.Config {
		return &tls.Config{RootCAs: ours.pool(), Certificates: as}
	}
	meshtest.Eventually(t, "a client with a certificate is served", func() bool {
		r, err := get(m, "mutual.example.com", config(ours.certificate(t, "client")))
		return err == nil && r.StatusCode == 200
	})
	if r, err := get(m, "mutual.example.com", config()); err == nil {
		t.Errorf("without a certificate: %s", r.Status)
	}
	if r, err := get(m, "mutual.example.com", config(other.certificate(t, "client"))); err == nil {
		t.Errorf("with a certificate of another authority: %s", r.Status)
	}
	// The key itself is nowhere to be read.
	for _, url := range []string{m.Ready.ControlPlane.HTTP + "/debug/adsz", m.Ready.ControlPlane.HTTP + "/debug/config_dump?proxyID=istio-ingressgateway",
		"http://" + m.Ready.Gateways[0].Admin + "/config_dump"} {
		if !strings.Contains(url, "://") {
			url = "http://" + url
		}
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), "PRIVATE KEY") || strings.Contains(string(body), ours.keyText()) {
			t.Errorf("%s shows a private key", url)
		}
	}
	if strings.Contains(m.Output(), "PRIVATE KEY") {
		t.Error("the log shows a private key")
	}
}
