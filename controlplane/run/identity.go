package run

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Identity is the control plane's certificate authority, and the listener where workloads prove who they are.
type Identity struct {
	// Addr is where to listen with TLS, for certificates and discovery.
	Addr string
	// Dir is where a self-made authority keeps its roots; Files a directory of Istio's files ca-cert.pem, ca-key.pem, root-cert.pem
	// and cert-chain.pem that somebody else keeps, read again when they change. One of the two.
	Dir, Files string
	// TrustDomain, TTL, MaxTTL and RootTTL are ca.Options'.
	TrustDomain          string
	TTL, MaxTTL, RootTTL time.Duration
	// TokenKeys is a PEM file of the public keys that sign service account tokens, read again for each token; "": certificates
	// alone prove who calls.
	TokenKeys string
	// Names are those of the listener's own certificate.
	Names []string
}

// identity is an Identity that is open.
type identity struct {
	Identity
	listener  net.Listener
	authority *ca.Authority
	who       ca.Authenticator
	log       *slog.Logger
}

func openIdentity(o Identity, log *slog.Logger) (*identity, error) {
	opt := ca.Options{TrustDomain: o.TrustDomain, TTL: o.TTL, MaxTTL: o.MaxTTL, RootTTL: o.RootTTL}
	i := &identity{Identity: o, log: log}
	var err error
	if o.Files != "" {
		i.authority, err = ca.FromFiles(o.Files, opt)
	} else if i.authority, err = ca.SelfMade(o.Dir, opt); err == nil {
		err = i.authority.WriteRoots(o.Dir)
	}
	if err != nil {
		return nil, err
	}
	who := ca.AnyOf{ca.ByCertificate{}}
	if o.TokenKeys != "" {
		if _, err := ca.ReadPublicKeys(o.TokenKeys); err != nil {
			return nil, err
		}
		who = append(who, ca.ByToken{TrustDomain: i.authority.TrustDomain(), Keys: i.keys})
	}
	i.who = who
	if i.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return nil, fmt.Errorf("listen with TLS: %w", err)
	}
	return i, nil
}

// keys are those that sign tokens now; none if the file cannot be read, which refuses every token.
func (i *identity) keys() []crypto.PublicKey {
	keys, err := ca.ReadPublicKeys(i.TokenKeys)
	if err != nil {
		i.log.Error("no token is good while the keys cannot be read", "error", err)
	}
	return keys
}

// start serves the authority and discovery, and keeps the authority's directory.
func (i *identity) start(ctx context.Context, g *errgroup.Group, s *server.Server) {
	own := ca.NewServer(i.authority, i.Names)
	rpc := serving.NewGRPC(server.Codec(), grpc.Creds(credentials.NewTLS(own.TLS())))
	s.Register(rpc)
	ca.NewService(i.authority, i.who, i.log).Register(rpc)
	g.Go(func() error { return serving.GRPC(ctx, rpc, i.listener, "certificates", s.Close) })
	dir, keep := i.Dir, i.authority.Keep
	if i.Files != "" {
		dir, keep = i.Files, i.authority.Reload
	}
	g.Go(func() error {
		i.authority.Keeping(ctx, dir, keep, i.rotated, func(err error) {
			i.log.Error("the certificate authority stays as it is", "error", err)
		})
		return nil
	})
}

func (i *identity) rotated() {
	i.log.Info("the trusted roots have changed")
	if i.Dir != "" {
		if err := i.authority.WriteRoots(i.Dir); err != nil {
			i.log.Error("the new roots are not written", "error", err)
		}
	}
}

// Admit bounds what a proxy may be by who it is: on a connection with TLS it must prove an identity, and its node's namespace and
// service account must be that identity's. The plaintext listener proves nothing and asks nothing: it is for this machine.
func (i *identity) admit(ctx context.Context, n mesh.Node) error {
	if p, ok := peer.FromContext(ctx); !ok || p.AuthInfo == nil || p.AuthInfo.AuthType() != "tls" {
		return nil
	}
	id, err := i.who.Authenticate(ctx)
	switch {
	case errors.Is(err, ca.ErrNoCredentials):
		return errors.New("a client certificate or a service account token is needed")
	case err != nil:
		return err
	case id.TrustDomain != i.authority.TrustDomain():
		return fmt.Errorf("%s is of another trust domain", id)
	case id.Namespace != n.Namespace:
		return fmt.Errorf("%s may not be a proxy of namespace %s", id, n.Namespace)
	case n.ServiceAccount != "" && n.ServiceAccount != id.ServiceAccount:
		return fmt.Errorf("%s may not be a proxy of service account %s", id, n.ServiceAccount)
	}
	return nil
}
