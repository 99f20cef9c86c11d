package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"sync/atomic"
	"time"
)

// Options of an Authority.
type Options struct {
	// TrustDomain of self-made roots; "" is "cluster.local".
	TrustDomain string
	// TTL of a workload's certificate if the request names none (0: 24 h), and MaxTTL the longest there is (0: 90 days).
	TTL, MaxTTL time.Duration
	// RootTTL of self-made roots (0: 10 years). At least three times MaxTTL. They are renewed
	// when a fifth of it is left, or twice MaxTTL if that is more.
	RootTTL time.Duration
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.TrustDomain == "" {
		o.TrustDomain = "cluster.local"
	}
	if o.TTL == 0 {
		o.TTL = 24 * time.Hour
	}
	if o.MaxTTL == 0 {
		o.MaxTTL = 90 * 24 * time.Hour
	}
	if o.RootTTL == 0 {
		o.RootTTL = 10 * 365 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Authority signs certificates. Safe for concurrent use.
type Authority struct {
	opt   Options
	state atomic.Pointer[state]
}

// state is what signs now. Immutable.
type state struct {
	signer pair
	// chain is what a client sends beside its own certificate: from the signer's up to, and without, the root. PEM; "" if
	// the root itself signs.
	chain string
	// roots are all that is trusted, PEM, the signer's first.
	roots string
	pool  *x509.CertPool
	// anchor is the one of them that the signer leads to.
	anchor *x509.Certificate
}

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Roots is the trust bundle, PEM. It changes when a root is rotated.
func (a *Authority) Roots() string { return a.state.Load().roots }

// Pool is the trust bundle for verifying a peer.
func (a *Authority) Pool() *x509.CertPool { return a.state.Load().pool }

// TrustDomain of the certificates.
func (a *Authority) TrustDomain() string { return a.opt.TrustDomain }

// backdate allows for clocks that differ.
const backdate = 2 * time.Minute

// Sign makes a certificate for the key in a PEM certificate request: for id, whatever the request asks for, and for ttl (0: the
// default), which is cut to the longest allowed and to the signer's own end. The chain is PEM: the certificate, then the
// intermediates.
func (a *Authority) Sign(request []byte, id Identity, ttl time.Duration) (chain string, err error) {
	if err := id.Validate(); err != nil {
		return "", err
	}
	csr, err := parseRequest(request)
	if err != nil {
		return "", err
	}
	s := a.state.Load()
	serial, err := serialNumber()
	if err != nil {
		return "", err
	}
	if ttl <= 0 {
		ttl = a.opt.TTL
	}
	now := a.opt.Now()
	end := now.Add(min(ttl, a.opt.MaxTTL))
	if end.After(s.signer.cert.NotAfter) {
		end = s.signer.cert.NotAfter
	}
	if !end.After(now) {
		return "", fmt.Errorf("sign certificate of %s: the authority's own certificate ended at %s", id, s.signer.cert.NotAfter)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial, NotBefore: now.Add(-backdate), NotAfter: end,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leaf.URIs = append(leaf.URIs, id.URL())
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.signer.cert, csr.PublicKey, s.signer.key)
	if err != nil {
		return "", fmt.Errorf("sign certificate of %s: %w", id, err)
	}
	return certificatePEM(der) + s.chain, nil
}

// parseRequest takes a certificate request whose signature proves that the caller has the key.
func parseRequest(request []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, errors.New("parse certificate request: want PEM of type CERTIFICATE REQUEST")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	if err := fitKey(csr.PublicKey); err != nil {
		return nil, err // before its signature is checked, which a huge key makes take its time
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("parse certificate request: %w", err)
	}
	return csr, nil
}

// maxRSA is the longest modulus, bits: what Go's and Envoy's TLS take at most.
const maxRSA = 8192

// fitKey refuses keys that a certificate should not vouch for.
func fitKey(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > maxRSA {
			return fmt.Errorf("certificate request: RSA key of %d bits, want 2048 or more, at most %d", n, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P224() {
			return errors.New("certificate request: curve P-224, want P-256 or stronger")
		}
		return nil
	case ed25519.PublicKey:
		return nil
	}
	return fmt.Errorf("certificate request: key of type %T, want RSA, ECDSA or Ed25519", key)
}

// serialNumber is 128 random bits.
func serialNumber() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
