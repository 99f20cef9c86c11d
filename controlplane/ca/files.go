package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// Names of the files of an authority, as in Istio's Secret cacerts.
const (
	CertFile  = "ca-cert.pem"    // the signing certificate
	KeyFile   = "ca-key.pem"     // its key
	RootFile  = "root-cert.pem"  // the trusted roots, one or more
	ChainFile = "cert-chain.pem" // from the signing certificate to the root; optional if the root signs
)

// FromFiles makes an authority of the files in a directory that somebody else keeps. Reload reads them again.
func FromFiles(dir string, o Options) (*Authority, error) {
	a := &Authority{opt: o.withDefaults()}
	return a, a.Reload(dir)
}

// Reload reads the files again. On an error the authority goes on with what it has.
func (a *Authority) Reload(dir string) error {
	m := Material{}
	for _, name := range []string{CertFile, KeyFile, RootFile, ChainFile} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) && name == ChainFile {
			continue
		}
		if err != nil {
			return fmt.Errorf("read certificate authority: %w", err)
		}
		m[name] = raw
	}
	if err := a.Use(m); err != nil {
		return fmt.Errorf("use the certificate authority in %s: %w", dir, err)
	}
	return nil
}

// Material is what an authority keeps, file by file, or entry by entry of a Secret.
type Material map[string][]byte

// Use signs with Istio's four files from now on. On an error the authority goes on with what it has.
func (a *Authority) Use(m Material) error {
	g, err := a.ReadGiven(m)
	if err != nil {
		return err
	}
	return a.useGiven(g)
}

// Given is an authority that somebody else keeps.
type Given struct {
	pair
	chain, roots []*x509.Certificate
	anchor       *x509.Certificate // the root that the certificate leads to
}

// ReadGiven reads Istio's four files, and checks that they are good to sign with.
func (a *Authority) ReadGiven(m Material) (*Given, error) {
	g := &Given{}
	var err error
	if g.pair, err = m.pair(CertFile, KeyFile); err != nil {
		return nil, err
	}
	if g.roots, err = m.certificates(RootFile); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(m[ChainFile])) > 0 {
		if g.chain, err = m.certificates(ChainFile); err != nil {
			return nil, err
		}
	}
	s, err := newState(g.pair, g.chain, g.roots, a.opt)
	if err != nil {
		return nil, err
	}
	g.anchor = s.anchor
	return g, nil
}

// useGiven signs with a given authority, and trusts no other.
func (a *Authority) useGiven(g *Given) error {
	s, err := newState(g.pair, g.chain, g.roots, a.opt)
	if err != nil {
		return err
	}
	a.state.Store(s)
	return nil
}

// newState checks that the signer may sign and leads to a root.
func newState(signer pair, chain, roots []*x509.Certificate, o Options) (*state, error) {
	c := signer.cert
	if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("certificate %q may not sign others: it is no CA", c.Subject)
	}
	if now := o.Now(); now.After(c.NotAfter) {
		return nil, fmt.Errorf("certificate %q ended at %s", c.Subject, c.NotAfter)
	}
	s := &state{signer: signer, pool: x509.NewCertPool()}
	for _, r := range roots {
		s.roots += certificatePEM(r.Raw)
		s.pool.AddCert(r)
	}
	between := x509.NewCertPool()
	for _, c := range append([]*x509.Certificate{signer.cert}, chain...) {
		between.AddCert(c)
	}
	paths, err := c.Verify(x509.VerifyOptions{
		Roots: s.pool, Intermediates: between, CurrentTime: o.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate %q does not lead to a root of %s: %w", c.Subject, RootFile, err)
	}
	s.anchor = paths[0][len(paths[0])-1]
	for _, link := range paths[0][:len(paths[0])-1] {
		s.chain += certificatePEM(link.Raw)
	}
	return s, nil
}

// pair reads a certificate and its key.
func (m Material) pair(certFile, keyFile string) (pair, error) {
	certs, err := m.certificates(certFile)
	if err != nil {
		return pair{}, err
	}
	key, err := parseKey(m[keyFile])
	if err != nil {
		return pair{}, fmt.Errorf("read signing key %s: %w", keyFile, err)
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(certs[0].PublicKey) {
		return pair{}, fmt.Errorf("read signing key %s: it does not belong to the certificate %s", keyFile, certFile)
	}
	return pair{certs[0], key}, nil
}

// certificates reads at least one.
func (m Material) certificates(file string) ([]*x509.Certificate, error) {
	certs, err := parseCertificates(m[file])
	if err != nil {
		return nil, fmt.Errorf("read certificates %s: %w", file, err)
	}
	return certs, nil
}

func parseCertificates(raw []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	if out == nil {
		return nil, errors.New("no PEM certificate in it")
	}
	return out, nil
}

// parseKey reads a private key in any of the usual forms.
func parseKey(raw []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, errors.New("no PEM key in it")
	}
	if k, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return k, nil
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse key: %w", err)
	}
	signer, ok := k.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T cannot sign", k)
	}
	return signer, nil
}

// writeFile replaces a file at once, readable by its owner only. One that says the same already is left alone, for those who watch it.
func writeFile(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	return wholefile.Lasting(path, content)
}
