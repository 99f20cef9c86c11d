package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// serverTTL is how long a certificate of the control plane's own lives. It is renewed at half of that, and when the roots change.
const serverTTL = 12 * time.Hour

// Server has certificates for the control plane's own listener made by the authority, as they are needed.
type Server struct {
	authority *Authority
	names     []string

	mu    sync.Mutex
	cert  *tls.Certificate
	until time.Time
	by    *state
}

// NewServer makes certificates for names, of which some may be IP addresses. At least one.
func NewServer(a *Authority, names []string) *Server { return &Server{authority: a, names: names} }

// TLS is the configuration of a listener where clients may show a certificate of the mesh: one that is not good is refused,
// none is left to whoever asks for a token.
func (s *Server) TLS() *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		cert, err := s.certificate()
		if err != nil {
			return nil, err
		}
		c := base.Clone()
		c.GetConfigForClient = nil
		c.Certificates, c.ClientCAs, c.ClientAuth = []tls.Certificate{*cert}, s.authority.Pool(), tls.VerifyClientCertIfGiven
		return c, nil
	}
	return base
}

func (s *Server) certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, st := s.authority.opt.Now(), s.authority.state.Load()
	if s.cert != nil && s.by == st && now.Before(s.until) {
		return s.cert, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	end := now.Add(serverTTL)
	if end.After(st.signer.cert.NotAfter) {
		end = st.signer.cert.NotAfter
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: end, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range s.names {
		if ip := net.ParseIP(n); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, st.signer.cert, key.Public(), st.signer.key)
	if err != nil {
		return nil, fmt.Errorf("sign the control plane's own certificate: %w", err)
	}
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	for block, rest := pem.Decode([]byte(st.chain)); block != nil; block, rest = pem.Decode(rest) {
		cert.Certificate = append(cert.Certificate, block.Bytes)
	}
	s.cert, s.by, s.until = cert, st, now.Add(end.Sub(now)/2)
	return cert, nil
}

// Keeping does what an authority's directory or Secret needs, until ctx is done: changed tells of new roots, problem of what failed,
// after which the authority goes on as it was. keep does it once: Keep, Reload, or what reads a Secret.
func (a *Authority) Keeping(ctx context.Context, keep func() error, changed func(), problem func(error)) {
	every := min(a.opt.MaxTTL/10, a.opt.RootTTL/20, 10*time.Second)
	tick := time.NewTicker(max(every, 200*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		before := a.Roots()
		if err := keep(); err != nil {
			problem(err)
		} else if a.Roots() != before {
			changed()
		}
	}
}

// WriteRoots keeps the trust bundle in a directory as root-cert.pem, for those who are to trust the authority.
func (a *Authority) WriteRoots(dir string) error { return writeFile(dir, RootFile, []byte(a.Roots())) }

// ReadPublicKeys reads the keys, or the certificates of the keys, in a PEM file: those that sign service account tokens.
func ReadPublicKeys(file string) ([]crypto.PublicKey, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read token keys: %w", err)
	}
	var out []crypto.PublicKey
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		var key any
		var err error
		switch block.Type {
		case "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				key = c.PublicKey
			}
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read token keys %s: %w", file, err)
		}
		out = append(out, key)
	}
	if out == nil {
		return nil, fmt.Errorf("read token keys %s: no PEM of type PUBLIC KEY in it", file)
	}
	return out, nil
}
