package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

const (
	appUser = 65532
	service = "mizzen-controlplane.istio-system.svc"
)

// world is a mesh of pods.
type world struct {
	t        *testing.T // the whole test, with which containers end
	dir      string     // everybody may look into it
	binary   string     // mizzen, as it is in images
	net      *netnstest.Network
	signer   crypto.Signer // of tokens
	pods     map[string]*pod
	client   pod           // outside of the mesh
	families mesh.Families // what pods have
	six      bool          // tests use IPv6's addresses
	// stop ends the control plane; start begins it again.
	stop, start func()
}

// pod is a network namespace with containers.
type pod struct {
	netnstest.Pod
	world      *world
	manifest   corev1.Pod
	dir        string // of volumes
	containers map[string]*proctest.Process
}

// hosts are the last parts of the addresses of pods, and of the Services that they are behind.
func hosts() map[string]int {
	return map[string]int{
		"customer-v1": 11, "preference-v1": 12, "recommendation-v1": 13, "recommendation-v2": 14, "istio-ingressgateway": 15, "istio-egressgateway": 16,
	}
}

// newWorld makes the network, the control plane and pods with these addresses, and waits until all is ready.
func newWorld(t *testing.T, binary string, f mesh.Families, pods ...string) *world {
	t.Helper()
	w := &world{t: t, binary: binary, net: netnstest.New(t), pods: map[string]*pod{}, families: f, six: f == mesh.IPv6}
	w.dir = shared(t)
	w.controlPlane(t)
	names := map[string][]string{}
	for name, address := range map[string]string{
		service: netnstest.Gateway, "customer.default.svc.cluster.local": "10.96.0.11", "preference.default.svc.cluster.local": "10.96.0.12",
		"recommendation.default.svc.cluster.local": "10.96.0.13", "istio-egressgateway.istio-system.svc.cluster.local": "10.96.0.16",
		"outside.example": "10.88.0.20", "secure.example": "10.88.0.20", "other.example": "10.88.0.20",
	} {
		names[name] = w.addresses(address)
	}
	w.net.DNS(t, names)
	w.outside(t)
	manifests, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var excluded []string
	for _, a := range w.addresses("10.88.0.21") {
		ip := netip.MustParseAddr(a)
		excluded = append(excluded, netip.PrefixFrom(ip, ip.BitLen()).String())
	}
	for i, m := range injected(t, strings.ReplaceAll(string(manifests), "10.88.0.21/32", strings.Join(excluded, ","))) {
		name := strings.TrimSuffix(m.Name, "-0")
		if len(pods) > 0 && !slices.Contains(pods, name) {
			continue
		}
		all := w.addresses(fmt.Sprintf("10.88.0.%d", hosts()[name]))
		m.Status.PodIP = all[0]
		for _, ip := range all {
			m.Status.PodIPs = append(m.Status.PodIPs, corev1.PodIP{IP: ip})
		}
		p := &pod{
			Pod: w.net.Pod(t, fmt.Sprintf("p%d", i), all[0], all[1:]...), world: w, manifest: m, dir: filepath.Join(w.dir, m.Name),
			containers: map[string]*proctest.Process{},
		}
		w.pods[name] = p
		known, err := yaml.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		w.apply(t, m.Name, string(known))
		p.launch(t)
	}
	for _, p := range w.pods {
		p.awaitReady(t)
	}
	return w
}

// shared makes a directory that users other than root may look into.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mz-pods-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// addresses are those that stand in this world for one of 10.88.0.0/24 or 10.96.0.0/24: it, or that of fd88::/64 or fd96::/64, or both.
func (w *world) addresses(four string) []string {
	six := strings.NewReplacer("10.88.0.", "fd88::", "10.96.0.", "fd96::").Replace(four)
	return map[mesh.Families][]string{mesh.IPv4: {four}, mesh.IPv6: {six}, mesh.DualStack: {four, six}}[w.families]
}

// ip is the one of them that tests use now.
func (w *world) ip(four string) string {
	all := w.addresses(four)
	if w.six {
		return all[len(all)-1]
	}
	return all[0]
}

// web is the URL of a server at an address.
func (w *world) web(four string, port int) string {
	return "http://" + net.JoinHostPort(w.ip(four), strconv.Itoa(port)) + "/"
}

// outside is a pod that the mesh does not know of, with two addresses of each kind: a stand-in, and a server of its own on 80 and 443.
func (w *world) outside(t *testing.T) {
	t.Helper()
	all := append(w.addresses("10.88.0.20"), w.addresses("10.88.0.21")...)
	p := pod{Pod: w.net.Pod(t, "out", all[0], all[1:]...), world: w}
	w.client = p
	p.Start(t, "outside", appUser, nil, w.binary, "standin", "--service", "outside", "--ports", "8080,7778")
	said := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		from, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(rw, "outside for %s from %s", r.Host, from)
	})
	plain, secure := httptest.NewUnstartedServer(said), httptest.NewUnstartedServer(said)
	for port, s := range map[string]*httptest.Server{"80": plain, "443": secure} {
		_ = s.Listener.Close()
		s.Listener = p.Listen(t, ":"+port)
		t.Cleanup(s.Close)
	}
	plain.Start()
	secure.StartTLS()
}

func (w *world) mode(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

// build makes the binary of users' pods.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(shared(t), "mizzen")
	c := exec.Command("go", "build", "-o", binary, "./cmd/agent")
	c.Dir, c.Env = envoytest.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

var clusterIP = regexp.MustCompile(`clusterIP: \S+`)

// controlPlane runs on the node, with an authority of its own, over a directory that apply writes to.
func (w *world) controlPlane(t *testing.T) {
	t.Helper()
	for _, d := range []string{"config", "ca"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile("testdata/world.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, "world", clusterIP.ReplaceAllStringFunc(string(raw), func(line string) string {
		all := w.addresses(strings.TrimPrefix(line, "clusterIP: "))
		return fmt.Sprintf("clusterIP: %q\n  clusterIPs: [\"%s\"]", all[0], strings.Join(all, `", "`))
	}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.signer = key
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(w.dir, "keys.pem")
	if err := os.WriteFile(keys, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	options := run.Options{
		Paths: []string{filepath.Join(w.dir, "config")}, XDSAddr: "127.0.0.1:15010", HTTPAddr: "127.0.0.1:15014", Modules: filepath.Join(w.dir, "modules"),
		Log: slog.New(slog.DiscardHandler),
		Identity: &run.Identity{
			Addr: ":15012", Dir: filepath.Join(w.dir, "ca"), TrustDomain: "cluster.local", TokenKeys: keys,
			Names: []string{service}, TTL: time.Hour, MaxTTL: time.Hour, RootTTL: 24 * time.Hour,
		},
	}
	w.start = func() {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		done, up := make(chan error, 1), make(chan struct{})
		o := options
		o.Listening = func(_, _ net.Addr) { close(up) }
		go func() { done <- w.net.Node.Inside(func() error { return run.Run(ctx, o) }) }()
		w.stop = func() { cancel(); <-done }
		select {
		case <-up:
		case err := <-done:
			t.Fatal(err)
		}
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	w.mode(t, filepath.Join(w.dir, "ca"), 0o755)
	w.mode(t, filepath.Join(w.dir, "ca", "root-cert.pem"), 0o644)
}

// config is the file of resources that have a name.
func (w *world) config(name string) string { return filepath.Join(w.dir, "config", name+".yaml") }

// apply writes resources, which the control plane takes up.
func (w *world) apply(t *testing.T, name, text string) {
	t.Helper()
	tmp := filepath.Join(w.dir, "new.yaml")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, w.config(name)); err != nil {
		t.Fatal(err)
	}
}

// only applies resources for one subtest.
func (w *world) only(t *testing.T, text string) {
	t.Helper()
	w.apply(t, "only", text)
	t.Cleanup(func() { _ = os.Remove(w.config("only")) })
}

// rules runs the pod's istio-init once more, with further arguments.
func (p *pod) rules(t *testing.T, backend string, more ...string) {
	t.Helper()
	p.complete(t, p.named(t, "istio-init"), append(more, "--backend", backend)...)
}

// proxy is the pod's sidecar, or the gateway.
func (p *pod) proxy() *proctest.Process { return p.containers["istio-proxy"] }

// url of the pod's own address.
func (p *pod) url(port int, path string) string {
	ip := p.IP
	if p.world.six {
		ip = p.manifest.Status.PodIPs[len(p.manifest.Status.PodIPs)-1].IP
	}
	return "http://" + net.JoinHostPort(ip, strconv.Itoa(port)) + path
}

// awaitReady asks as kubelet does: from the node, through Envoy.
func (p *pod) awaitReady(t *testing.T) {
	t.Helper()
	envoytest.Await(t, 60*time.Second, "the proxy of "+p.manifest.Name+" is ready", func() bool {
		return p.probe(p.named(t, "istio-proxy").ReadinessProbe) == http.StatusOK
	})
}

// status asks from the node; 0: there was no answer.
func (w *world) status(url string) int {
	resp, err := w.net.Node.Client().Get(url)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

// curl runs curl in the pod, as the application's user, and returns what it printed and the status; 0: it failed.
func (p *pod) curl(args ...string) (said string, code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := p.Command(ctx, appUser, append([]string{"curl", "-s", "--max-time", "15", "-w", "\n%{http_code}\n"}, args...)...).Output()
	text := strings.TrimSpace(string(out))
	i := strings.LastIndex(text, "\n")
	body, status := strings.TrimSpace(text[:max(i, 0)]), text[i+1:]
	if err != nil {
		return fmt.Sprintf("%s (%v)", body, err), 0
	}
	_, _ = fmt.Sscan(status, &code)
	return body, code
}
