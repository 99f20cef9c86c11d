package run

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/vault"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/internal/serving"
)

// Identity is the control plane's certificate authority, and the listener where workloads prove who they are.
type Identity struct {
	// Addr is where to listen with TLS, for certificates and discovery.
	Addr string
	// Cluster, if not nil, keeps the authority in a Secret and knows whose a token is, see package vault; Dir, Files and TokenKeys are ""
	// then.
	Cluster *Cluster
	// Dir is where a self-made authority keeps its roots; Files a directory of Istio's files ca-cert.pem, ca-key.pem, root-cert.pem
	// and cert-chain.pem that somebody else keeps, read again when they change. One of the two.
	Dir, Files string
	// TrustDomain, TTL, MaxTTL and RootTTL are ca.Options'. In a cluster TrustDomain "" is MeshConfig's.
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
	keep      func() error
	who       ca.Authenticator
	log       *slog.Logger
}

func openIdentity(ctx context.Context, o Identity, log *slog.Logger) (*identity, error) {
	i := &identity{Identity: o, log: log}
	open := i.openFiles
	if o.Cluster != nil {
		open = i.openCluster
	}
	if err := open(ctx); err != nil {
		return nil, err
	}
	var err error
	if i.listener, err = net.Listen("tcp", o.Addr); err != nil {
		return nil, fmt.Errorf("listen with TLS: %w", err)
	}
	return i, nil
}

func (i *identity) options() ca.Options {
	return ca.Options{TrustDomain: i.TrustDomain, TTL: i.TTL, MaxTTL: i.MaxTTL, RootTTL: i.RootTTL}
}

// openFiles opens an authority in a directory.
func (i *identity) openFiles(context.Context) (err error) {
	if i.Files != "" {
		i.authority, err = ca.FromFiles(i.Files, i.options())
		i.keep = func() error { return i.authority.Reload(i.Files) }
	} else {
		if i.authority, err = ca.SelfMade(i.Dir, i.options()); err == nil {
			err = i.authority.WriteRoots(i.Dir)
		}
		i.keep = func() error { return i.authority.Keep(i.Dir) }
	}
	if err != nil {
		return err
	}
	who := ca.AnyOf{ca.ByCertificate{}}
	if i.TokenKeys != "" {
		if _, err := ca.ReadPublicKeys(i.TokenKeys); err != nil {
			return err
		}
		who = append(who, ca.ByToken{TrustDomain: i.authority.TrustDomain(), Keys: i.keys})
	}
	i.who = who
	return nil
}

// openCluster opens the cluster's authority, as soon as its API server answers.
func (i *identity) openCluster(ctx context.Context) error {
	client, err := i.Cluster.client()
	if err != nil {
		return err
	}
	i.Names = append(i.Names[:len(i.Names):len(i.Names)], i.Cluster.names()...)
	var v *vault.Vault
	err = i.untilItAnswers(ctx, func(ctx context.Context) (err error) {
		if i.TrustDomain == "" {
			if i.TrustDomain, err = i.Cluster.trustDomain(ctx, client); err != nil {
				return err
			}
		}
		v, err = vault.Open(ctx, client, i.Cluster.namespace(), i.options())
		return err
	})
	if err != nil {
		return err
	}
	i.authority = v.Authority()
	i.keep = func() error { return v.Keep(ctx) }
	i.who = ca.AnyOf{ca.ByCertificate{}, ca.ByReview{TrustDomain: i.authority.TrustDomain(), Review: ca.Remember(review(client), time.Now)}}
	return nil
}

// untilItAnswers tries again while an API server does not answer; what it refuses, and what is wrong with a Secret, is an error.
func (i *identity) untilItAnswers(ctx context.Context, do func(context.Context) error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := once(ctx, do)
		if err == nil || ctx.Err() != nil || !away(err) {
			return err
		}
		i.log.Warn("the certificate authority waits for the API server", "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// away tells whether an API server has not answered, or has no time.
func away(err error) bool {
	var net *url.Error
	return errors.As(err, &net) || errors.Is(err, context.DeadlineExceeded) || apierrors.IsServiceUnavailable(err) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) || apierrors.IsInternalError(err)
}

func once(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, vault.Timeout)
	defer cancel()
	return do(ctx)
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
	g.Go(func() error {
		i.authority.Keeping(ctx, i.keep, i.rotated, func(err error) {
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

// admit bounds what a proxy may be by who it is: on a connection with TLS it must prove an identity, and its node's namespace and
// service account must be that identity's. The plaintext listener proves nothing and asks nothing: it is for this machine.
func (i *identity) admit(ctx context.Context, n mesh.Node) (mesh.Node, error) {
	id, proven, err := i.caller(ctx)
	if err == nil && proven {
		err = i.fits(id, n)
	}
	return n, err
}

// caller is who calls; not proven, if the connection is without TLS.
func (i *identity) caller(ctx context.Context) (id ca.Identity, proven bool, err error) {
	if p, ok := peer.FromContext(ctx); !ok || p.AuthInfo == nil || p.AuthInfo.AuthType() != "tls" {
		return id, false, nil
	}
	id, err = i.who.Authenticate(ctx)
	if errors.Is(err, ca.ErrNoCredentials) {
		err = errors.New("a client certificate or a service account token is needed")
	}
	return id, err == nil, err
}

// fits tells whether a proxy may be one of an identity.
func (i *identity) fits(id ca.Identity, n mesh.Node) error {
	switch {
	case id.TrustDomain != i.authority.TrustDomain():
		return fmt.Errorf("%s is of another trust domain", id)
	case id.Namespace != n.Namespace:
		return fmt.Errorf("%s may not be a proxy of namespace %s", id, n.Namespace)
	case n.ServiceAccount != "" && n.ServiceAccount != id.ServiceAccount:
		return fmt.Errorf("%s may not be a proxy of service account %s", id, n.ServiceAccount)
	}
	return nil
}
