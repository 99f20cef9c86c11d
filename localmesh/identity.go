package localmesh

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	securityv1 "istio.io/api/security/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/ca/agent"
)

// longestSocket is what the path of a Unix socket may have, in bytes.
const longestSocket = 104

// identified is how long a proxy waits for its first certificate. Then it starts without an identity, in plaintext: a mesh whose
// authority fails is still a mesh.
const identified = 5 * time.Second

// identities gives every proxy of the mesh a certificate: by an agent each, which asks the control plane with the token of the
// workload's service account, as an agent in a pod does, and serves it to the Envoy over SDS on a socket of its own.
type identities struct {
	dir     string        // of the authority
	tokens  string        // file of the public key that tokens are verified with
	sockets string        // folder
	signer  crypto.Signer // of tokens
	conn    *grpc.ClientConn
	serial  atomic.Int32
}

// newIdentities makes what the control plane needs to start with, in the state directory.
func newIdentities(dir string) (*identities, error) {
	authority := filepath.Join(dir, "ca")
	key, err := ca.TokenKey(authority)
	if err != nil {
		return nil, err
	}
	i := &identities{dir: authority, tokens: filepath.Join(authority, ca.TokenKeysFile), signer: key, sockets: filepath.Join(dir, "sds")}
	if len(i.socket(9999)) > longestSocket {
		if i.sockets, err = os.MkdirTemp("/tmp", "mizzen-sds-"); err != nil {
			return nil, fmt.Errorf("make folder of sockets: %w", err)
		}
		return i, nil
	}
	if err := os.Mkdir(i.sockets, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of sockets: %w", err)
	}
	return i, nil
}

func (i *identities) socket(n int32) string { return filepath.Join(i.sockets, fmt.Sprint(n)) }

// close removes what is not in the state directory.
func (i *identities) close() error {
	if i == nil {
		return nil
	}
	var err error
	if i.conn != nil {
		err = i.conn.Close()
	}
	return errors.Join(err, os.RemoveAll(i.sockets))
}

// flags are those of the control plane.
func (i *identities) flags(addr string, o Options) []string {
	return []string{
		"--ca-dir", i.dir, "--secure-addr", addr, "--token-keys", i.tokens,
		"--cert-ttl", o.CertTTL.String(), "--max-cert-ttl", o.CertTTL.String(), "--root-ttl", o.RootTTL.String(),
	}
}

// connect prepares for asking the authority at addr. Its certificate is verified with the roots that it has at that time.
func (i *identities) connect(addr string) error {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection verifies, with roots that may have changed since
		VerifyConnection:   i.verify,
	}
	var err error
	if i.conn, err = grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(conf))); err != nil {
		return fmt.Errorf("connect to certificate authority: %w", err)
	}
	return nil
}

func (i *identities) verify(s tls.ConnectionState) error {
	raw, err := os.ReadFile(filepath.Join(i.dir, ca.RootFile))
	if err != nil {
		return fmt.Errorf("read roots: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: localhostName})
	return err
}

// identity is one proxy's agent.
type identity struct {
	socket string
	stop   func()
}

// start runs an agent for a service account and waits for its first certificate. Nil if none comes in time.
func (i *identities) start(ctx context.Context, m *mesh, proxy, namespace, account string) (*identity, error) {
	socket := i.socket(i.serial.Add(1))
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("serve certificate of %s: %w", proxy, err)
	}
	log := m.o.Log.With("proxy", proxy)
	a := agent.New(agent.Options{
		CA: securityv1.NewIstioCertificateServiceClient(i.conn), Log: log,
		Token: func() (string, error) { return ca.Token(i.signer, namespace, account, time.Now(), time.Hour) },
	})
	life, cancel := context.WithCancel(context.Background()) // not ctx's: it lives as long as the proxy
	g, done := grpc.NewServer(), make(chan struct{}, 2)
	a.Register(life, g)
	go func() { defer func() { done <- struct{}{} }(); _ = g.Serve(l) }()
	go func() { defer func() { done <- struct{}{} }(); _ = a.Run(life) }()
	id := &identity{socket: socket, stop: func() { cancel(); g.Stop(); <-done; <-done }}
	wait := time.NewTimer(identified)
	defer wait.Stop()
	select {
	case <-a.Ready():
		return id, nil
	case <-ctx.Done():
		id.stop()
		return nil, ctx.Err()
	case <-wait.C:
		id.stop()
		log.Warn("no certificate: the proxy starts without an identity, in plaintext")
		return nil, nil
	}
}
