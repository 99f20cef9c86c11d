package kube

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/integration/proctest"
)

// process is mizzen as a process, of a control plane with its addresses.
type process struct {
	*proctest.Process
	name       string
	xds, pages string
}

var addresses = regexp.MustCompile(`msg="control plane is up" xds=(\S+) http=(\S+)`)

// startProcess runs mizzen until the test ends.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	name := "mizzen " + args[0]
	return &process{Process: proctest.Start(t, name, exec.Command(meshtest.Binary(t), args...)), name: name}
}

// startReplica runs a control plane with flags, and waits until it is ready.
func startReplica(t *testing.T, flags ...string) *process {
	t.Helper()
	r := startProcess(t, append([]string{"controlplane", "--xds-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--module-dir", t.TempDir()}, flags...)...)
	await(t, "a control plane is ready", func() bool {
		m := addresses.FindStringSubmatch(r.Log())
		if m == nil {
			return false
		}
		r.xds, r.pages = m[1], m[2]
		resp, err := http.Get("http://" + r.pages + "/ready")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return r
}

// service leads connections to the first of some replicas that runs, as a Service would.
type service struct {
	net.Listener
	mu       sync.Mutex
	replicas []*process
}

func startService(t *testing.T, replicas ...*process) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{Listener: l, replicas: replicas}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.lead(c)
		}
	}()
	return s
}

func (s *service) add(r *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, r)
}

func (s *service) lead(in net.Conn) {
	defer in.Close()
	s.mu.Lock()
	to := ""
	for _, r := range s.replicas {
		if to == "" && r.Running() {
			to = r.xds
		}
	}
	s.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
}

// backend answers with its name.
func backend(t *testing.T, name string) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	_, port, _ = net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// outage is how long the API server is away.
const outage = time.Minute

// TestOutages: with the API server away and one replica after the other killed, a real Envoy keeps its configuration, changes nothing
// when it comes to another replica, answers every request, and gets the changes that are made once the API server is back.
func TestOutages(t *testing.T) {
	t.Parallel()
	envoytest.Find(t)
	c := kubetest.Start(t, kubetest.Options{})
	c.Definitions(t)
	system, ns, client := c.Namespace(t, "system", nil), c.Namespace(t, "shop", nil), dynamicClient(t, c)
	apply(t, client, placed(ns, fmt.Sprintf(`
{apiVersion: v1, kind: Pod, metadata: {name: curl, namespace: NS, labels: {app: curl}}, spec: {containers: [{name: a, image: a}]}, status: {phase: Running, podIP: 127.0.0.1}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: v1, namespace: NS}, spec: {hosts: [v1.example.com], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 127.0.0.1, ports: {http: %s}}]}}
---
{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: v2, namespace: NS}, spec: {hosts: [v2.example.com], location: MESH_EXTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 127.0.0.1, ports: {http: %s}}]}}`, backend(t, "one"), backend(t, "two"))))
	route := func(to string) {
		apply(t, client, placed(ns, "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: v1, namespace: NS}, spec: {hosts: [v1.example.com], http: [{route: [{destination: {host: "+to+".example.com}}]}]}}"))
	}
	route("v1")
	flags := []string{"--kubeconfig", c.Kubeconfig(), "--namespace", system, "--secure-addr", "127.0.0.1:0"}
	first, second := startReplica(t, flags...), startReplica(t, flags...)
	front := startService(t, first, second)
	port := envoytest.FreePort(t)
	config, err := bootstrap.Config(bootstrap.Options{
		NodeID: nodeID("sidecar", "127.0.0.1", "curl", ns), XDSAddress: front.Addr().String(),
		Metadata: map[string]any{"NAMESPACE": ns, "INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": fmt.Sprint(port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	envoy := envoytest.Start(t, envoytest.Options{Config: string(config), Module: "-"})
	through := &http.Client{Timeout: limit, Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)})}}
	t.Cleanup(through.CloseIdleConnections)
	get := func() string {
		resp, err := through.Get("http://v1.example.com/")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(resp.StatusCode, " ", string(b))
	}
	await(t, "requests are answered", func() bool { return get() == "200 one" })

	const modified = `^(cluster_manager\.cluster_modified|cluster_manager\.cluster_removed|listener_manager\.listener_modified|listener_manager\.listener_removed|http\..*\.rds\..*\.config_reload)$`
	before := fmt.Sprint(envoy.Stats(t, modified))
	connected := func() int64 {
		return envoy.Stats(t, `^control_plane\.connected_state$`)["control_plane.connected_state"]
	}
	load := startLoad(get, "200 one")
	c.KillAPI()
	away := time.Now()
	first.Kill()
	await(t, "Envoy is at the second replica", func() bool { return synced(second) && connected() == 1 })
	time.Sleep(outage - min(outage, time.Since(away))) // an outage takes its time
	if wrong := load.stop(); wrong != "" || load.count.Load() < 20 {
		t.Errorf("during the outage, after %d requests: %s", load.count.Load(), wrong)
	}
	if after := fmt.Sprint(envoy.Stats(t, modified)); after != before {
		t.Errorf("another replica changed Envoy's configuration: %s, was %s", after, before)
	}
	if err := c.StartAPI(); err != nil {
		t.Fatal(err)
	}
	route("v2")
	await(t, "the change is in force", func() bool { return get() == "200 two" })

	third := startReplica(t, flags...)
	front.add(third)
	before = fmt.Sprint(envoy.Stats(t, modified))
	load = startLoad(get, "200 two")
	second.Kill()
	await(t, "Envoy is at the third replica", func() bool { return synced(third) && connected() == 1 })
	if wrong := load.stop(); wrong != "" {
		t.Errorf("after the second replica was killed: %s", wrong)
	}
	if after := fmt.Sprint(envoy.Stats(t, modified)); after != before {
		t.Errorf("a replica that started later changed Envoy's configuration: %s, was %s", after, before)
	}
}

// synced tells whether a replica has a proxy that has all.
func synced(r *process) bool {
	b, err := r.page("/debug/syncz")
	return err == nil && strings.Contains(b, `"synced": true`)
}

// page is one of the monitoring pages.
func (r *process) page(path string) (string, error) {
	resp, err := http.Get("http://" + r.pages + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

// load asks on and on.
type load struct {
	count atomic.Int64
	quit  chan struct{}
	wrong chan string
}

func startLoad(get func() string, want string) *load {
	l := &load{quit: make(chan struct{}), wrong: make(chan string, 1)}
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if got := get(); got != want {
				l.wrong <- got
				return
			}
			l.count.Add(1)
			select {
			case <-l.quit:
				l.wrong <- ""
				return
			case <-tick.C:
			}
		}
	}()
	return l
}

// stop returns the first answer that was another one; "" if there was none.
func (l *load) stop() string {
	close(l.quit)
	return <-l.wrong
}
