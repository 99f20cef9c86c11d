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
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

const (
	proxyUser = 1337 // whom the rules leave alone
	appUser   = 1000
	service   = "mizzen-controlplane.istio-system.svc"
)

// world is a mesh of pods.
type world struct {
	dir    string // everybody may look into it
	binary string // mizzen, as it is in the sidecar's image
	net    *netnstest.Network
	signer crypto.Signer // of tokens
	pods   map[string]*pod
	// stop ends the control plane; start begins it again.
	stop, start func()
}

// pod is a namespace with a proxy and an application, either of which may be nil.
type pod struct {
	netnstest.Pod
	world      *world
	name, ns   string
	app, proxy *proctest.Process
	dns        bool   // the agent answers the pod's questions
	run        func() // starts the proxy, which lives as long as the world
}

// newWorld makes the network, the control plane and every pod, and waits until all is ready.
func newWorld(t *testing.T) *world {
	t.Helper()
	netnstest.Need(t, "curl", "iptables-nft", "iptables-legacy", "nft")
	envoytest.Find(t)
	w := &world{net: netnstest.New(t), pods: map[string]*pod{}}
	var err error
	if w.dir, err = os.MkdirTemp("", "mz-pods-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(w.dir) })
	w.mode(t, w.dir, 0o755)
	w.build(t)
	w.controlPlane(t)
	w.net.DNS(t, map[string]string{
		service: netnstest.Gateway, "customer.default.svc.cluster.local": "10.96.0.11", "preference.default.svc.cluster.local": "10.96.0.12",
		"recommendation.default.svc.cluster.local": "10.96.0.13", "outside.example": "10.88.0.20",
	})
	outside := &pod{Pod: w.net.Pod(t, "out", "10.88.0.20", "10.88.0.21"), world: w, name: "outside"}
	w.pods["outside"] = outside
	outside.application(t, "outside", "", "", "8080,7778")
	w.sidecar(t, "cust", "10.88.0.11", "customer", "v1", "http://preference:8080/")
	w.sidecar(t, "pref", "10.88.0.12", "preference", "v1", "http://recommendation:8080/")
	w.sidecar(t, "rec1", "10.88.0.13", "recommendation", "v1", "")
	w.sidecar(t, "rec2", "10.88.0.14", "recommendation", "v2", "")
	gateway := &pod{Pod: w.net.Pod(t, "gate", "10.88.0.15"), world: w, name: "istio-ingressgateway-1", ns: "istio-system"}
	w.pods["gateway"] = gateway
	// As the injector writes it into a gateway's pod: port 80 needs no capability.
	if out, err := gateway.Command(context.Background(), 0, "sysctl", "-w", "net.ipv4.ip_unprivileged_port_start=0").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	gateway.sidecar(t, "router", "istio-ingressgateway", map[string]string{"app": "istio-ingressgateway", "istio": "ingressgateway"})
	for _, p := range w.pods {
		if p.proxy != nil {
			p.awaitReady(t)
		}
	}
	return w
}

func (w *world) mode(t *testing.T, dir string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
}

// build makes the binary of users' pods.
func (w *world) build(t *testing.T) {
	t.Helper()
	w.binary = filepath.Join(w.dir, "mizzen")
	c := exec.Command("go", "build", "-o", w.binary, "./cmd/agent")
	c.Dir, c.Env = envoytest.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

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
	w.apply(t, "world", string(raw))
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
			Addr: netnstest.Gateway + ":15012", Dir: filepath.Join(w.dir, "ca"), TrustDomain: "cluster.local", TokenKeys: keys,
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

// apply writes resources, which the control plane takes up.
func (w *world) apply(t *testing.T, name, text string) {
	t.Helper()
	dir := filepath.Join(w.dir, "config")
	tmp := filepath.Join(w.dir, "new.yaml")
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name+".yaml")); err != nil {
		t.Fatal(err)
	}
}

// only applies resources for one subtest.
func (w *world) only(t *testing.T, text string) {
	t.Helper()
	w.apply(t, "only", text)
	t.Cleanup(func() { _ = os.Remove(filepath.Join(w.dir, "config", "only.yaml")) })
}

// sidecar makes a pod with an application and a proxy, and everything sent through it.
func (w *world) sidecar(t *testing.T, short, ip, app, version, calls string) {
	t.Helper()
	p := &pod{Pod: w.net.Pod(t, short, ip), world: w, name: app + "-" + version, ns: "default"}
	w.pods[short], p.dns = p, short == "rec1"
	p.rules(t, "iptables-nft")
	p.application(t, app, version, calls, "8080,9090,7777")
	p.sidecar(t, "sidecar", app, map[string]string{"app": app, "version": version})
}

// arguments of the rules: the injector's, for a pod with annotations that exclude a port in, one out, and a range.
func arguments() []string {
	return strings.Fields("iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x 10.88.0.21/32 -b * -d 15090,15021,7777,15020 -o 7778 --log_output_level=default:info")
}

// rules makes the pod's.
func (p *pod) rules(t *testing.T, backend string, more ...string) {
	t.Helper()
	if p.dns {
		more = append(more, "--redirect-dns")
	}
	out, err := p.Command(context.Background(), 0, append(append([]string{p.world.binary}, arguments()...), append(more, "--backend", backend)...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rules of %s by %s: %v\n%s", p.name, backend, err, out)
	}
}

// application is a stand-in on ports, and an echo on 9000.
func (p *pod) application(t *testing.T, service, version, calls, ports string) {
	t.Helper()
	p.app = p.Start(t, "application "+p.name, appUser, nil, p.world.binary, "standin", "--service", service, "--version", version,
		"--instance", p.name, "--ports", ports, "--tcp-ports", "9000", "--calls", calls)
}

// sidecar starts the pod's proxy as the injector has kubelet start it.
func (p *pod) sidecar(t *testing.T, kind, account string, labels map[string]string) {
	t.Helper()
	home := filepath.Join(p.world.dir, p.name)
	for _, d := range []string{"", "config", "data", "pod"} {
		if err := os.MkdirAll(filepath.Join(home, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(home, d), proxyUser, proxyUser); err != nil {
			t.Fatal(err)
		}
	}
	token, err := ca.Token(p.world.signer, p.ns, account, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for k, v := range labels {
		fmt.Fprintf(&lines, "%s=%q\n", k, v)
	}
	for name, text := range map[string]string{"token": token, "pod/labels": lines.String()} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{
		"POD_NAME=" + p.name, "POD_NAMESPACE=" + p.ns, "INSTANCE_IP=" + p.IP, "SERVICE_ACCOUNT=" + account, "ISTIO_CPU_LIMIT=1",
		"ISTIO_META_CLUSTER_ID=Kubernetes", "ISTIO_META_INTERCEPTION_MODE=REDIRECT", "TRUST_DOMAIN=cluster.local",
		`PROXY_CONFIG={"discoveryAddress":"` + service + `:15012","terminationDrainDuration":"5s"}`,
		`ISTIO_KUBE_APP_PROBERS={"/app-health/app/readyz":{"httpGet":{"path":"/healthy","port":8080,"scheme":"HTTP"},"timeoutSeconds":5},` +
			`"/app-health/app/livez":{"tcpSocket":{"port":9000}},"/app-health/app/startupz":{"grpc":{"port":9090},"timeoutSeconds":5},` +
			`"/app-health/gone/readyz":{"httpGet":{"path":"/","port":8099}}}`,
		`ISTIO_PROMETHEUS_ANNOTATIONS={"scrape":"true","path":"/metrics","port":"8080"}`,
	}
	if p.dns {
		env = append(env, "ISTIO_META_DNS_CAPTURE=true")
	}
	p.run = func() {
		t.Helper()
		p.proxy = p.Start(t, "proxy "+p.name, proxyUser, env, p.world.binary, "proxy", kind, "--envoy", envoytest.Find(t),
			"--token-file", filepath.Join(home, "token"), "--root-cert", filepath.Join(p.world.dir, "ca", ca.RootFile),
			"--pod-info", filepath.Join(home, "pod"), "--config-dir", filepath.Join(home, "config"), "--data-dir", filepath.Join(home, "data"),
			"--socket-dir", filepath.Join(home, "none"), "--module-dir", filepath.Dir(envoytest.Module(t)))
	}
	p.run()
}

// awaitReady asks as kubelet does: from the node, through Envoy.
func (p *pod) awaitReady(t *testing.T) {
	t.Helper()
	envoytest.Await(t, 60*time.Second, "the proxy of "+p.name+" is ready", func() bool {
		return p.world.status("http://"+net.JoinHostPort(p.IP, "15021")+"/healthz/ready") == http.StatusOK
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
