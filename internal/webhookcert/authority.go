package webhookcert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Keys of the Secret. The signer's have Istio's names.
const (
	keySignerCert   = "ca-cert.pem"
	keySignerKey    = "ca-key.pem"
	keyNextCert     = "next-cert.pem"
	keyNextKey      = "next-key.pem"
	keyNextFrom     = "next-from" // RFC 3339: when it becomes the signer
	keyRetiredCert  = "retired-cert.pem"
	keyRetiredUntil = "retired-until" // RFC 3339: when nothing that it signed is good any more
)

// backdate is how far behind the clocks of API servers may be.
const backdate = time.Hour

// Lifetimes say how long certificates are good for. A zero field has its default.
type Lifetimes struct {
	CA      time.Duration // default a year; the next one is made when three tenths are left
	Leaf    time.Duration // default a day; a new one is made when half is left
	Overlap time.Duration // default an hour: how long the next CA stands in caBundles before it signs
}

func (l Lifetimes) withDefaults() Lifetimes {
	if l.CA == 0 {
		l.CA = 365 * 24 * time.Hour
	}
	if l.Leaf == 0 {
		l.Leaf = 24 * time.Hour
	}
	if l.Overlap == 0 {
		l.Overlap = time.Hour
	}
	return l
}

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// authority is what the Secret holds: one CA that signs, one that will, and one that did.
type authority struct {
	signer  *pair // nil in a new authority
	next    *pair // nil: none
	from    time.Time
	retired *x509.Certificate // nil: none
	until   time.Time
}

// bundle is the caBundle that trusts them all, in one order.
func (a authority) bundle() []byte {
	var b bytes.Buffer
	for _, c := range a.trusted() {
		b.Write(certificatePEM(c.Raw))
	}
	return b.Bytes()
}

func (a authority) trusted() []*x509.Certificate {
	var out []*x509.Certificate
	if a.retired != nil {
		out = append(out, a.retired)
	}
	if a.signer != nil {
		out = append(out, a.signer.cert)
	}
	if a.next != nil {
		out = append(out, a.next.cert)
	}
	return out
}

// step does what is due: it makes the first CA, makes the next one, lets it sign, or forgets the last one. changed is false if
// nothing is. announced says that a's bundle is in force; without it no next CA begins to sign.
func (a authority) step(now time.Time, l Lifetimes, announced bool) (out authority, changed bool, err error) {
	out = a
	if out.retired != nil && !now.Before(out.until) {
		out.retired, out.until, changed = nil, time.Time{}, true
	}
	switch {
	case out.signer == nil || now.After(out.signer.cert.NotAfter.Add(-l.Leaf/2)): // all slept for long
		p, err := newCA(now, l.CA)
		if err != nil {
			return a, false, err
		}
		return authority{signer: p}, true, nil
	case out.next == nil && now.After(out.signer.cert.NotAfter.Add(-l.CA*3/10)):
		if out.next, err = newCA(now, l.CA); err != nil {
			return a, false, err
		}
		out.from, changed = now.Add(l.Overlap).Truncate(time.Second), true
	case out.next != nil && out.retired == nil && announced && !now.Before(out.from):
		// A server that has not heard of it may sign with the old one for a while.
		out.retired, out.until = out.signer.cert, now.Add(l.Leaf+l.Overlap).Truncate(time.Second)
		out.signer, out.next, out.from, changed = out.next, nil, time.Time{}, true
	}
	return out, changed, nil
}

// encode is the Secret's data.
func (a authority) encode() (map[string][]byte, error) {
	out := map[string][]byte{}
	put := func(certKey, keyKey string, p *pair) error {
		der, err := x509.MarshalECPrivateKey(p.key)
		if err != nil {
			return fmt.Errorf("write %s: %w", keyKey, err)
		}
		out[certKey] = certificatePEM(p.cert.Raw)
		out[keyKey] = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
		return nil
	}
	if err := put(keySignerCert, keySignerKey, a.signer); err != nil {
		return nil, err
	}
	if a.next != nil {
		if err := put(keyNextCert, keyNextKey, a.next); err != nil {
			return nil, err
		}
		out[keyNextFrom] = []byte(a.from.UTC().Format(time.RFC3339))
	}
	if a.retired != nil {
		out[keyRetiredCert] = certificatePEM(a.retired.Raw)
		out[keyRetiredUntil] = []byte(a.until.UTC().Format(time.RFC3339))
	}
	return out, nil
}

// decode reads the Secret's data; without any it is an authority that has yet to begin.
func decode(data map[string][]byte) (a authority, err error) {
	if len(data) == 0 {
		return authority{}, nil
	}
	if a.signer, err = decodePair(data, keySignerCert, keySignerKey); err != nil {
		return authority{}, err
	}
	if len(data[keyNextCert]) > 0 {
		if a.next, err = decodePair(data, keyNextCert, keyNextKey); err != nil {
			return authority{}, err
		}
		if a.from, err = time.Parse(time.RFC3339, string(data[keyNextFrom])); err != nil {
			return authority{}, fmt.Errorf("read %s: %w", keyNextFrom, err)
		}
	}
	if len(data[keyRetiredCert]) > 0 {
		if a.retired, err = decodeCertificate(data, keyRetiredCert); err != nil {
			return authority{}, err
		}
		if a.until, err = time.Parse(time.RFC3339, string(data[keyRetiredUntil])); err != nil {
			return authority{}, fmt.Errorf("read %s: %w", keyRetiredUntil, err)
		}
	}
	return a, nil
}

func decodePair(data map[string][]byte, certKey, keyKey string) (*pair, error) {
	cert, err := decodeCertificate(data, certKey)
	if err != nil {
		return nil, err
	}
	k, err := tls.X509KeyPair(data[certKey], data[keyKey])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", keyKey, err)
	}
	key, ok := k.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read %s: not an elliptic curve's key", keyKey)
	}
	return &pair{cert, key}, nil
}

func decodeCertificate(data map[string][]byte, name string) (*x509.Certificate, error) {
	block, _ := pem.Decode(data[name])
	if block == nil {
		return nil, fmt.Errorf("read %s: no PEM block", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return cert, nil
}

func newCA(now time.Time, life time.Duration) (*pair, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"mizzen"}, CommonName: "mizzen webhooks"},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, MaxPathLenZero: true,
	}
	return sign(template, nil, now, life)
}

// leaf makes a serving certificate for names; no longer good than what signs it.
func (a authority) leaf(names []string, now time.Time, life time.Duration) (*pair, error) {
	if len(names) == 0 {
		return nil, errors.New("make a certificate: no names")
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "mizzen webhook"}, DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	return sign(template, a.signer, now, min(life, a.signer.cert.NotAfter.Sub(now)))
}

// sign completes a certificate with a key of its own. A nil signer makes it sign itself.
func sign(template *x509.Certificate, signer *pair, now time.Time, life time.Duration) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(life)
	parent := template
	with := key
	if signer != nil {
		parent, with = signer.cert, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), with)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return &pair{cert, key}, nil
}

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
