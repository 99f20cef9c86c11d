package identity

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"crypto/tls"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// TestTLSToTheOutside: DestinationRule's SIMPLE and MUTUAL with files, to a server that is no part of the mesh.
func TestTLSToTheOutside(t *testing.T) {
	m := shared.Mesh(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "sni %s, %d client certificates", r.TLS.ServerName, len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	own := server.TLS.Certificates[0] // for example.com
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, keyFile := write("cert.pem", "CERTIFICATE", own.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(t, `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [example.com]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: `+port+`}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
`)
	rule := func(tls string) string {
		return "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: outside}\nspec: {host: example.com, trafficPolicy: {tls: " + tls + "}}\n"
	}
	c := m.From(t, client)
	for _, x := range []struct {
		name, tls string
		code      int
		body      string
	}{
		{"plaintext", "{mode: DISABLE}", 400, "Client sent an HTTP request to an HTTPS server."},
		{"SIMPLE", "{mode: SIMPLE, caCertificates: " + cert + "}", 200, "sni example.com, 0 client certificates"},
		{"SIMPLE with a name of its own", "{mode: SIMPLE, caCertificates: " + cert + ", sni: www.example.com, subjectAltNames: [example.com]}", 200, "sni www.example.com, 0 client certificates"},
		{"SIMPLE to another name", "{mode: SIMPLE, caCertificates: " + cert + ", subjectAltNames: [example.org]}", 503, ""},
		{"SIMPLE, unverified", "{mode: SIMPLE, insecureSkipVerify: true}", 200, "sni example.com, 0 client certificates"},
		{"MUTUAL", "{mode: MUTUAL, caCertificates: " + cert + ", clientCertificate: " + cert + ", privateKey: " + keyFile + "}", 200, "sni example.com, 1 client certificates"},
	} {
		t.Run(x.name, func(t *testing.T) {
			m.Apply(t, rule(x.tls))
			c.Await(t, x.name, func(a meshtest.Answer) bool {
				return a.Code == x.code && (x.body == "" || a.Body == x.body)
			}, "http://example.com/")
		})
	}
}
