package kubetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// Options of a Cluster.
type Options struct {
	// Flags are added to kube-apiserver's; a later one wins.
	Flags []string
}

// Issuer of the cluster's service account tokens.
const Issuer = "https://kubernetes.default.svc"

// readyLimit bounds how long a program may take to come up on a busy machine.
const readyLimit = 3 * time.Minute

// Cluster is an etcd and a kube-apiserver. Tests that run side by side may share it, but for the methods that start and end its
// programs.
type Cluster struct {
	bin, dir string
	flags    []string
	etcdURL  string
	host     string // the API server's, host:port
	token    string // the administrator's
	etcd     *proctest.Process
	api      *proctest.Process
	log      *textlog.Buffer

	defining sync.Mutex
	defined  bool // Definitions has run
}

// Start starts a cluster that ends with the test.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	bin, err := Binaries()
	if err != nil {
		envoytest.Missing(t, err)
	}
	c, err := Launch(bin, t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Stop()
		if t.Failed() {
			t.Log(c.Tail())
		}
	})
	return c
}

// Launch starts the binaries of a folder outside of a test, with files in dir, and waits until the API server is ready. The caller
// stops it; when there is an error, nothing is left running.
func Launch(bin, dir string, o Options) (*Cluster, error) {
	c := &Cluster{bin: bin, dir: dir, flags: o.Flags, token: rand.Text(), log: &textlog.Buffer{}}
	if err := c.write(); err != nil {
		return nil, err
	}
	for range 5 { // ports may be taken meanwhile
		err := c.start()
		if err == nil {
			return c, c.writeKubeconfig()
		}
		c.Stop()
		if !strings.Contains(c.log.String(), "address already in use") {
			return nil, fmt.Errorf("%w\n%s", err, c.Tail())
		}
		c.log = &textlog.Buffer{}
	}
	return nil, errors.New("start a cluster: no port stays free")
}

// write makes the keys that sign service accounts' tokens, and the list of other tokens.
func (c *Cluster) write() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make the key of service accounts: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("make the key of service accounts: %w", err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, content := range map[string][]byte{
		"sa.key":     private,
		"sa.pub":     pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"tokens.csv": []byte(c.token + `,admin,admin,"system:masters"` + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write the cluster's files: %w", err)
		}
	}
	return nil
}

// start takes an address that no connection starts from, so that its ports stay free while the API server is stopped, and starts both.
func (c *Cluster) start() error {
	ip := fmt.Sprintf("127.77.%d.%d", mathrand.IntN(256), 1+mathrand.IntN(254))
	hosts, err := freePorts(ip, 3)
	if err != nil {
		return err
	}
	c.etcdURL, c.host = "http://"+hosts[0], hosts[2]
	peer := "http://" + hosts[1]
	c.etcd, err = launch(c.log, "etcd", filepath.Join(c.bin, "etcd"), "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls", c.etcdURL, "--advertise-client-urls", c.etcdURL,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err != nil {
		return err
	}
	return c.StartAPI()
}

// freePorts returns addresses that were free a moment ago.
func freePorts(ip string, n int) ([]string, error) {
	var out []string
	for range n {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // after all are found: they are different ones
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// StartAPI starts the API server, on the same address each time, and waits until it is ready.
func (c *Cluster) StartAPI() error {
	ip, port, err := net.SplitHostPort(c.host)
	if err != nil {
		return fmt.Errorf("start kube-apiserver: %w", err)
	}
	args := []string{
		"--etcd-servers=" + c.etcdURL, "--cert-dir=" + filepath.Join(c.dir, "certs"),
		"--bind-address=" + ip, "--secure-port=" + port, "--advertise-address=" + ip, "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.0.0.0/16", "--service-account-issuer=" + Issuer,
		"--service-account-key-file=" + filepath.Join(c.dir, "sa.pub"), "--service-account-signing-key-file=" + filepath.Join(c.dir, "sa.key"),
		"--authorization-mode=RBAC", "--token-auth-file=" + filepath.Join(c.dir, "tokens.csv"), "--allow-privileged=true",
		"--disable-admission-plugins=ServiceAccount", // which waits for accounts that a controller would make
	}
	if c.api, err = launch(c.log, "kube-apiserver", filepath.Join(c.bin, "kube-apiserver"), append(args, c.flags...)...); err != nil {
		return err
	}
	return c.await()
}

// await waits until the API server is ready.
func (c *Cluster) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.ready(ctx) {
			return nil
		}
		select {
		case <-c.api.Gone():
			return errors.New("start kube-apiserver: it ended")
		case <-c.etcd.Gone():
			return errors.New("start etcd: it ended")
		case <-ctx.Done():
			return fmt.Errorf("start kube-apiserver: not ready after %v", readyLimit)
		case <-tick.C:
		}
	}
}

func (c *Cluster) ready(ctx context.Context) bool {
	config, err := c.config()
	if err != nil {
		return false // its certificate is not written yet
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, config.Host+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// KillAPI ends the API server at once, as a crash does; StartAPI starts it again, with all that etcd has.
func (c *Cluster) KillAPI() { c.api.Kill() }

// Stop ends everything. Calling it again does nothing.
func (c *Cluster) Stop() {
	c.api.Kill()
	c.etcd.Kill()
}

// Tail is the end of what both programs printed.
func (c *Cluster) Tail() string {
	const most = 8000 // bytes
	log := c.log.String()
	return "the end of the log of etcd and kube-apiserver:\n" + log[max(0, len(log)-most):]
}

// Dir is the folder of the cluster's files.
func (c *Cluster) Dir() string { return c.dir }
