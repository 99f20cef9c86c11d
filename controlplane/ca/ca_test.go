package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/mizzen-mesh/mizzen/internal/cost"
)

var reviews = Identity{"cluster.local", "default", "bookinfo-reviews"}

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)} }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func leafOf(t testing.TB, chain string) *x509.Certificate {
	t.Helper()
	certs, err := parseCertificates([]byte(chain))
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}

// verifies tells whether a chain is good under a trust bundle at a time.
func verifies(t testing.TB, chain, roots string, at time.Time) bool {
	t.Helper()
	certs, err := parseCertificates([]byte(chain))
	if err != nil {
		t.Fatal(err)
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(roots))
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err = certs[0].Verify(x509.VerifyOptions{
		Roots: pool, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err == nil
}

func TestTheRequestDecidesNothingButTheKey(t *testing.T) {
	c := newClock()
	a, err := SelfMade(t.TempDir(), Options{Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	chain, err := a.Sign(request(t, key, x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "admin"},
		DNSNames: []string{"istiod.istio-system.svc"},
		URIs:     []*url.URL{Identity{"cluster.local", "kube-system", "admin"}.URL()},
	}), reviews, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, chain)
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://cluster.local/ns/default/sa/bookinfo-reviews" {
		t.Errorf("identities %v", leaf.URIs)
	}
	if len(leaf.DNSNames) != 0 || leaf.Subject.CommonName != "" || leaf.IsCA {
		t.Errorf("names %v, subject %s, CA %v: taken from the request", leaf.DNSNames, leaf.Subject, leaf.IsCA)
	}
	if !key.PublicKey.Equal(leaf.PublicKey) || !verifies(t, chain, a.Roots(), c.now) {
		t.Error("the certificate is not of that key, or no root vouches for it")
	}
	if got := leaf.NotAfter.Sub(c.now); got != time.Hour {
		t.Errorf("it lives %s", got)
	}
}

func TestRequestsRefused(t *testing.T) {
	a, err := SelfMade(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	good := request(t, newKey(t), x509.CertificateRequest{})
	block, _ := pem.Decode(good)
	forged := append([]byte(nil), block.Bytes...)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name    string
		request []byte
		id      Identity
		want    string
	}{
		{"no PEM", []byte("hello"), reviews, "want PEM"},
		{"a key that others have", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged}), reviews, "parse certificate request"},
		{"a weak key", request(t, weak, x509.CertificateRequest{}), reviews, "2048 or more"},
		{"a name that is two", good, Identity{"cluster.local", "default/sa/admin", "x"}, `namespace "default/sa/admin"`},
		{"no name", good, Identity{"cluster.local", "default", ""}, "service account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := a.Sign(c.request, c.id, 0); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	if got, err := ParseIdentity(reviews.String()); got != reviews || err != nil {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "spiffe://", "spiffe://td/ns/a", "spiffe://td/ns/a/sa/b/c", "https://td/ns/a/sa/b", "spiffe://td/ns//sa/b", "spiffe://td/ns/a%2Fb/sa/c"} {
		if got, err := ParseIdentity(bad); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}

// Whatever the time, a certificate that anybody may still hold is good for everybody who asked within a certificate's life.
func TestRootRotationOverlaps(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	o := Options{Now: c.Now, TTL: time.Hour, MaxTTL: time.Hour, RootTTL: 100 * time.Hour}
	a, err := SelfMade(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	type proxy struct{ chain, roots string }
	var alive []proxy
	roots, signers := map[string]bool{}, map[string]bool{}
	for hour := range 400 {
		if hour == 30 {
			if err := a.Rotate(dir); err != nil {
				t.Fatal(err)
			}
		}
		if hour%7 == 3 { // a restart
			if a, err = SelfMade(dir, o); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Keep(dir); err != nil {
			t.Fatal(err)
		}
		chain, err := a.Sign(request(t, newKey(t), x509.CertificateRequest{}), reviews, 0)
		if err != nil {
			t.Fatal(err)
		}
		alive = append(alive, proxy{chain, a.Roots()})
		if len(alive) > 2 { // each renews at half its life
			alive = alive[len(alive)-2:]
		}
		for _, p := range alive {
			for _, q := range alive {
				if !verifies(t, p.chain, q.roots, c.now) {
					t.Fatalf("after %d half hours one proxy does not trust another", hour)
				}
			}
		}
		roots[a.Roots()] = true
		signers[a.state.Load().signer.cert.SerialNumber.String()] = true
		c.now = c.now.Add(30 * time.Minute)
	}
	if len(signers) < 3 {
		t.Errorf("%d roots signed in 200 h, want the one at hand, the one asked for, and one that came with age", len(signers))
	}
	if n := strings.Count(a.Roots(), "BEGIN"); n != 1 {
		t.Errorf("%d roots are still trusted", n)
	}
}

func TestAuthorityFromFiles(t *testing.T) {
	made, dir := t.TempDir(), t.TempDir()
	if _, err := SelfMade(made, Options{}); err != nil {
		t.Fatal(err)
	}
	kept, err := readRoots(made)
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	root := kept[0].pair
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: root.cert.SerialNumber, Subject: pkix.Name{CommonName: "intermediate"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}, root.cert, key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(CertFile, []byte(certificatePEM(der)))
	write(KeyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
	write(RootFile, []byte(certificatePEM(root.cert.Raw)))
	a, err := FromFiles(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Sign(request(t, newKey(t), x509.CertificateRequest{}), reviews, 0)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(chain, "BEGIN") != 2 || !verifies(t, chain, certificatePEM(root.cert.Raw), time.Now()) {
		t.Errorf("want the certificate and the intermediate, good under the root:\n%s", chain)
	}
	if end := leafOf(t, chain).NotAfter; end.After(time.Now().Add(time.Hour)) {
		t.Errorf("the certificate ends at %s, after the one that signed it", end)
	}
	write(KeyFile, []byte("nothing"))
	if err := a.Reload(dir); err == nil {
		t.Error("a broken key is taken")
	}
	if _, err := a.Sign(request(t, newKey(t), x509.CertificateRequest{}), reviews, 0); err != nil {
		t.Errorf("after a bad reload: %v", err)
	}
	if _, err := FromFiles(t.TempDir(), Options{}); err == nil {
		t.Error("an empty folder is taken")
	}
}

func TestTokens(t *testing.T) {
	c := newClock()
	key, other := newKey(t), newKey(t)
	b := ByToken{TrustDomain: "cluster.local", Keys: func() []crypto.PublicKey { return []crypto.PublicKey{other.Public(), key.Public()} }, Now: c.Now}
	call := func(token string) (Identity, error) {
		return b.Authenticate(metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+token)))
	}
	token, err := Token(key, "default", "bookinfo-reviews", c.now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := call(token); got != reviews || err != nil {
		t.Errorf("%v %v", got, err)
	}
	forged, err := Token(newKey(t), "default", "bookinfo-reviews", c.now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", forged, token[:len(token)-2], "eyJhbGciOiJub25lIn0." + strings.Split(token, ".")[1] + "."} {
		if got, err := call(bad); err == nil {
			t.Errorf("token %q is taken for %v", bad, got)
		}
	}
	c.now = c.now.Add(2 * time.Hour)
	if _, err := call(token); err == nil {
		t.Error("a token that has ended is taken")
	}
	if _, err := b.Authenticate(context.Background()); err != ErrNoCredentials {
		t.Errorf("without a token: %v", err)
	}
}

// FuzzSign: whatever is asked for, as PEM or as what stands inside, the names in a certificate are the caller's.
func FuzzSign(f *testing.F) {
	a, err := SelfMade(f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	good := request(f, newKey(f), x509.CertificateRequest{DNSNames: []string{"a"}})
	f.Add(good)
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"))
	block, _ := pem.Decode(good)
	f.Add(block.Bytes)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, asked := range [][]byte{raw, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: raw})} {
			var chain string
			var err error
			cost.Within(t, func() { chain, err = a.Sign(asked, reviews, 0) })
			if err != nil {
				continue
			}
			if leaf := leafOf(t, chain); len(leaf.URIs) != 1 || leaf.URIs[0].String() != reviews.String() || len(leaf.DNSNames) != 0 {
				t.Fatalf("identity %v, names %v", leaf.URIs, leaf.DNSNames)
			}
		}
	})
}

// FuzzToken: a bearer token that nobody signed is nobody's.
func FuzzToken(f *testing.F) {
	key := newKey(f)
	token, err := Token(key, "default", "reviews", time.Now().Add(-time.Hour), time.Minute)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("a.b.c")
	who := ByToken{TrustDomain: "cluster.local", Keys: func() []crypto.PublicKey { return []crypto.PublicKey{key.Public()} }}
	f.Fuzz(func(t *testing.T, token string) {
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("authorization", "Bearer "+token))
		cost.Within(t, func() {
			if id, err := who.Authenticate(ctx); err == nil {
				t.Errorf("a token that has ended, or that nobody signed, is %v's", id)
			}
		})
	})
}
