// Package agent keeps the identity of one workload: it makes a key, has it signed, renews it in time, and gives it to the Envoy
// beside it over SDS, on a local socket. The key never leaves the process but to that Envoy.
package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	securityv1 "istio.io/api/security/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Options of an Agent. CA and Log are required.
type Options struct {
	// CA signs. Istio's API, so any such authority will do.
	CA securityv1.IstioCertificateServiceClient
	// Token is sent with each request; nil: the connection's own client certificate tells who calls.
	Token func() (string, error)
	// TTL to ask for; 0: what the authority gives.
	TTL time.Duration
	Log *slog.Logger
	// Renewed, if not nil, is told the end of each new certificate.
	Renewed func(end time.Time)
}

// Agent is one workload's. Safe for concurrent use.
type Agent struct {
	opt     Options
	secrets *cachev3.LinearCache

	mu    sync.Mutex
	held  held
	ready chan struct{} // closed with the first certificate
}

// held is the identity in force.
type held struct {
	chain, key, roots string // PEM
	begins, ends      time.Time
}

// New makes an agent that holds nothing before Run.
func New(o Options) *Agent {
	return &Agent{opt: o, secrets: cachev3.NewLinearCache(resourcev3.SecretType), ready: make(chan struct{})}
}

// Register adds the secret discovery service for the workload's Envoy. ctx bounds its streams.
func (a *Agent) Register(ctx context.Context, g *grpc.Server) {
	secretv3.RegisterSecretDiscoveryServiceServer(g, serverv3.NewServer(ctx, a.secrets, nil))
}

// Ready is closed once there is a certificate.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Certificate is the chain, key and trust bundle in force, PEM; empty before Ready.
func (a *Agent) Certificate() (chain, key, roots string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held.chain, a.held.key, a.held.roots
}

// Restore puts an identity of earlier in force, such as one from before a restart: before Run, which asks for a new one at once and, while
// that fails, lets this one serve. One that has ended by now is an error.
func (a *Agent) Restore(chain, key, roots string, now time.Time) error {
	ends, err := endOf(chain)
	if err != nil {
		return err
	}
	if !now.Before(ends) {
		return fmt.Errorf("restore certificate: it ended at %s", ends.Format(time.RFC3339))
	}
	return a.use(held{chain: chain, key: key, roots: roots, begins: now, ends: ends})
}

// Retries after a failure begin here and double up to maxBackoff.
const (
	minBackoff = 200 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// Run gets a certificate and renews it, until ctx is done. A failure is logged and tried again: Envoy keeps what it has.
func (a *Agent) Run(ctx context.Context) error {
	backoff := minBackoff
	for {
		wait := backoff
		if err := a.renew(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			a.opt.Log.Warn("no certificate, trying again", "error", err, "wait", wait)
			backoff = min(2*backoff, maxBackoff)
		} else {
			backoff = minBackoff
			wait = a.untilRenewal()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// untilRenewal is half of the certificate's life, give or take a tenth of it, so that proxies that started together do not ask
// together for ever.
func (a *Agent) untilRenewal() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	life := a.held.ends.Sub(a.held.begins)
	return life/2 - life/10 + time.Duration(mathrand.Int64N(int64(life/5)+1))
}

// renew gets a certificate for a new key.
func (a *Agent) renew(ctx context.Context) error {
	key, request, err := NewRequest()
	if err != nil {
		return err
	}
	begins := time.Now()
	if a.opt.Token != nil {
		token, err := a.opt.Token()
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	answer, err := a.opt.CA.CreateCertificate(ctx, &securityv1.IstioCertificateRequest{
		Csr: request, ValidityDuration: int64(a.opt.TTL / time.Second),
	})
	if err != nil {
		return fmt.Errorf("ask for certificate: %w", err)
	}
	certs := answer.GetCertChain()
	if len(certs) < 2 {
		return fmt.Errorf("ask for certificate: the answer has %d certificates, want a chain and its roots", len(certs))
	}
	n := len(certs) - 1
	h := held{chain: joined(certs[:n]), roots: joined(certs[n:]), begins: begins}
	if h.ends, err = endOf(certs[0]); err != nil {
		return err
	}
	if h.key, err = keyPEM(key); err != nil {
		return err
	}
	return a.use(h)
}

// use gives Envoy a new identity.
func (a *Agent) use(h held) error {
	err := a.secrets.UpdateResources(map[string]types.Resource{
		mesh.SecretIdentity: identity(h),
		mesh.SecretRoots:    roots(h),
	}, nil)
	if err != nil {
		return fmt.Errorf("publish certificate: %w", err)
	}
	a.mu.Lock()
	first := a.held.chain == ""
	a.held = h
	a.mu.Unlock()
	if first {
		close(a.ready)
	}
	if a.opt.Renewed != nil {
		a.opt.Renewed(h.ends)
	}
	a.opt.Log.Debug("certificate renewed", "ends", h.ends)
	return nil
}

func identity(h held) *tlsv3.Secret {
	return &tlsv3.Secret{Name: mesh.SecretIdentity, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(h.chain), PrivateKey: inline(h.key),
	}}}
}

func roots(h held) *tlsv3.Secret {
	return &tlsv3.Secret{Name: mesh.SecretRoots, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		TrustedCa: inline(h.roots),
	}}}
}

// NewRequest makes a key and a request for it, PEM. The request names nobody: the authority knows who asks.
func NewRequest() (crypto.Signer, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, "", fmt.Errorf("make certificate request: %w", err)
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

func keyPEM(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", fmt.Errorf("encode key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

func endOf(cert string) (time.Time, error) {
	block, _ := pem.Decode([]byte(cert))
	if block == nil {
		return time.Time{}, errors.New("read certificate: the answer is not PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	return c.NotAfter, nil
}

func joined(certs []string) string {
	var b strings.Builder
	for _, c := range certs {
		b.WriteString(strings.TrimSpace(c) + "\n")
	}
	return b.String()
}
