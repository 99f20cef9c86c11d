package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	securityv1 "istio.io/api/security/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// maxMessage is what one message of the control plane may have, in bytes: all endpoints of a large mesh.
const maxMessage = 1 << 30

// dial prepares a connection to the control plane. It is made when it is needed, and again when it breaks.
func (a *Agent) dial(addr string) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if a.set.secure {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("connect to control plane: %w", err)
		}
		creds = credentials.NewTLS(&tls.Config{
			MinVersion:           tls.VersionTLS12,
			InsecureSkipVerify:   true, // VerifyConnection verifies, with roots that may have changed since
			VerifyConnection:     func(s tls.ConnectionState) error { return a.verify(s, host) },
			GetClientCertificate: a.certificate,
		})
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds),
		grpc.WithDisableServiceConfig(), // which would be asked of DNS, before everything else
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithConnectParams(reconnect()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: false}))
	if err != nil {
		return nil, fmt.Errorf("connect to control plane: %w", err)
	}
	return conn, nil
}

// verify holds the control plane's certificate against the mounted roots, and those that came with the workload's own certificate.
func (a *Agent) verify(s tls.ConnectionState, name string) error {
	roots := x509.NewCertPool()
	raw, err := os.ReadFile(a.o.Paths.Root)
	if err == nil {
		roots.AppendCertsFromPEM(raw)
	}
	if a.identity != nil {
		_, _, held := a.identity.Certificate()
		if !roots.AppendCertsFromPEM([]byte(held)) && err != nil {
			return fmt.Errorf("read roots of the control plane: %w", err)
		}
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name})
	return err
}

// certificate is the workload's, for a control plane that asks for it; an empty one before there is any.
func (a *Agent) certificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	chain, key, _ := a.identity.Certificate()
	if chain == "" {
		return &tls.Certificate{}, nil
	}
	c, err := tls.X509KeyPair([]byte(chain), []byte(key))
	return &c, err
}

// token of the service account. It is replaced by kubelet long before it ends.
func (a *Agent) token() (string, error) {
	raw, err := os.ReadFile(a.o.Paths.Token)
	return strings.TrimSpace(string(raw)), err
}

// authorized adds the token, if there is one, to a call.
func (a *Agent) authorized(ctx context.Context) context.Context {
	if !a.set.secure {
		return ctx
	}
	token, err := a.token()
	if err != nil {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// newIdentity makes the keeper of the workload's certificate, with the one of before a restart in force.
func (a *Agent) newIdentity() (*grpc.ClientConn, error) {
	conn, err := a.dial(a.set.authority)
	if err != nil {
		return nil, err
	}
	a.identity = agent.New(agent.Options{
		CA: securityv1.NewIstioCertificateServiceClient(conn), Log: a.o.Log, Token: a.token, Renewed: a.keepIdentity,
		TTL: span(a.o.Getenv("SECRET_TTL"), 0),
	})
	if err := a.restoreIdentity(); err != nil {
		a.o.Log.Warn("the identity of before the restart is not used", "error", err)
	}
	return conn, nil
}

// kept is the identity as it outlives a restart of the container, on a file system in memory.
type kept struct{ Chain, Key, Roots string }

func (a *Agent) keepIdentity(ends time.Time) {
	a.ends.Store(ends.Unix())
	var k kept
	k.Chain, k.Key, k.Roots = a.identity.Certificate()
	raw, err := json.Marshal(k)
	if err == nil {
		err = wholefile.Secret(a.o.Paths.identity(), raw)
	}
	if err != nil {
		a.o.Log.Warn("the identity will not outlive a restart", "error", err)
	}
}

func (a *Agent) restoreIdentity() error {
	raw, err := os.ReadFile(a.o.Paths.identity())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	return a.identity.Restore(k.Chain, k.Key, k.Roots, time.Now())
}
