package kube

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/vault"
)

// holds is a workload with its certificate and the roots that came with it.
type holds struct {
	cert   tls.Certificate
	roots  *x509.CertPool
	renews time.Time
}

func newHolds(t *testing.T, by *ca.Authority, account string, now, renews time.Time) holds {
	t.Helper()
	key, request, err := agent.NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := by.Sign([]byte(request), ca.Identity{TrustDomain: "td", Namespace: "shop", ServiceAccount: account}, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := holds{cert: tls.Certificate{PrivateKey: key}, roots: by.Pool(), renews: renews}
	for block, rest := pem.Decode([]byte(chain)); block != nil; block, rest = pem.Decode(rest) {
		h.cert.Certificate = append(h.cert.Certificate, block.Bytes)
	}
	return h
}

// greet has two workloads shake hands, as their Envoys would.
func greet(client, server holds, now time.Time) error {
	at := func() time.Time { return now }
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(b, &tls.Config{Certificates: []tls.Certificate{server.cert}, ClientCAs: server.roots, ClientAuth: tls.RequireAndVerifyClientCert, Time: at, SessionTicketsDisabled: true}).Handshake()
		_ = b.Close()
	}()
	err := tls.Client(a, &tls.Config{
		Certificates: []tls.Certificate{client.cert}, Time: at,
		InsecureSkipVerify: true, // names are identities, which VerifyConnection could look at
		VerifyConnection: func(s tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: client.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			return err
		},
	}).Handshake()
	_ = a.Close()
	if e := <-done; err == nil {
		err = e
	}
	return err
}

// TestAuthorityComesAndGoes: Secret cacerts appears beside an authority that signs, and goes again: two replicas take it up with roots that
// overlap, no handshake fails between workloads that either has signed for, and whoever is there signs in the end.
func TestAuthorityComesAndGoes(t *testing.T) {
	c := side(t)
	system := c.Namespace(t, "comes", nil)
	client := c.Client(t)
	const life = time.Hour
	now := time.Now()
	o := ca.Options{TTL: life, MaxTTL: life, Now: func() time.Time { return now }}
	var replicas []*vault.Vault
	for range 2 {
		v, err := vault.Open(t.Context(), client, system, o)
		if err != nil {
			t.Fatal(err)
		}
		replicas = append(replicas, v)
	}
	secrets := client.CoreV1().Secrets(system)
	given := material(t)
	workloads := make([]holds, 3)
	steps, renewals := 0, 0
	run := func(hours float64) {
		t.Helper()
		for end := now.Add(time.Duration(hours * float64(time.Hour))); now.Before(end); now = now.Add(7 * time.Minute) {
			steps++
			for _, v := range replicas {
				if err := v.Keep(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for i, w := range workloads {
				if now.After(w.renews) { // at half of its life, more or less
					renewals++
					workloads[i] = newHolds(t, replicas[renewals%2].Authority(), "a", now, now.Add(life/2+time.Duration(i)*3*time.Minute))
				}
			}
			for i, x := range workloads {
				for j, y := range workloads {
					if err := greet(x, y, now); err != nil {
						t.Fatalf("step %d: workload %d to %d: %v", steps, i, j, err)
					}
				}
			}
		}
	}
	signs := func(root []byte) bool {
		t.Helper()
		block, _ := pem.Decode(root)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		for _, v := range replicas {
			leaf, err := x509.ParseCertificate(newHolds(t, v.Authority(), "b", now, now).cert.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				return false
			}
		}
		return true
	}
	trusted := func() int { return strings.Count(replicas[0].Authority().Roots(), "BEGIN") }

	run(1)
	if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: vault.Given}, Data: given}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	run(0.1)
	if signs(given[ca.CertFile]) || trusted() != 2 {
		t.Errorf("at first it is to be trusted and not to sign: %d roots are trusted", trusted())
	}
	run(1.2)
	if !signs(given[ca.CertFile]) || trusted() != 2 {
		t.Errorf("after the longest certificate's life it is to sign: %d roots are trusted", trusted())
	}
	again, err := vault.Open(t.Context(), client, system, o) // a replica that starts meanwhile
	if err != nil {
		t.Fatal(err)
	}
	replicas[1] = again
	run(1.2)
	made, err := secrets.Get(t.Context(), vault.Made, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !signs(given[ca.CertFile]) || trusted() != 1 || len(made.Data[ca.KeyFile]) > 0 {
		t.Errorf("in the end it is to be alone: %d roots are trusted", trusted())
	}
	for name, entry := range made.Data {
		if strings.Contains(string(entry), "PRIVATE KEY") {
			t.Errorf("Secret %s has a key in %s, and signs nothing", vault.Made, name)
		}
	}

	if err := secrets.Delete(t.Context(), vault.Given, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	run(0.1)
	if !signs(given[ca.CertFile]) || trusted() != 2 {
		t.Errorf("once it is gone it is to sign until the next root is known: %d roots are trusted", trusted())
	}
	run(2.5)
	if made, err = secrets.Get(t.Context(), vault.Made, metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if signs(given[ca.CertFile]) || !signs(made.Data[ca.CertFile]) || trusted() != 1 {
		t.Errorf("in the end a root of the control plane's own is to sign alone: %d roots are trusted", trusted())
	}
}

// TestAuthorityAppears: a control plane that runs gives workloads the roots of a Secret cacerts that appears, and its own certificate is
// good for whoever knew it before.
func TestAuthorityAppears(t *testing.T) {
	c := side(t)
	c.Definitions(t)
	system, ns := c.Namespace(t, "system", nil), c.Namespace(t, "shop", nil)
	p := startPlane(t, c, system)
	before := p.roots(vault.Made)
	token := c.Token(t, ns, "a", ca.Audience)
	given := material(t)
	if _, err := c.Client(t).CoreV1().Secrets(system).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: vault.Given}, Data: given}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, "both roots are given out", func() bool {
		_, roots, err := signed(t, with(t, token), p.dial(before))
		if err != nil {
			t.Fatal(err)
		}
		return roots == before+string(given[ca.RootFile])
	})
}
