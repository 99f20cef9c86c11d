package run

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// rig is a control plane over one file, a real Envoy as the sidecar of a client, and a web server behind the mesh.
type rig struct {
	t          *testing.T
	file       string
	xds, pages string
	stop       func() error
	log        *textlog.Buffer
	proxyPort  int
	client     *http.Client
	envoy      *envoytest.Envoy
	backends   [2]string // ports of v1 and v2
}

// yaml is a service with two versions; weight is v1's share.
func (r *rig) yaml(weight int, extra string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
  - {address: 127.0.0.1, ports: {http: %[1]s}, labels: {version: v1}}
  - {address: 127.0.0.1, ports: {http: %[5]s}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: default}
spec: {host: reviews.example.com, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews.example.com]
  http: [{route: [{destination: {host: reviews.example.com, subset: v1}, weight: %[2]d}, {destination: {host: reviews.example.com, subset: v2}, weight: %[3]d}]}]
%[4]s`, r.backends[0], weight, 100-weight, extra, r.backends[1])
}

func (r *rig) write(s string) {
	r.t.Helper()
	tmp := filepath.Join(filepath.Dir(r.file), ".next")
	if err := os.WriteFile(tmp, []byte(s), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(tmp, r.file); err != nil {
		r.t.Fatal(err)
	}
}

// newRig starts all of it; host is what the proxy says it runs, "" nothing.
func newRig(t *testing.T, sotw bool, proxyPort int, host mesh.FilterHost) *rig {
	t.Helper()
	return newRigWith(t, sotw, proxyPort, host, "")
}

// newRigWith is newRig with more YAML from the beginning.
func newRigWith(t *testing.T, sotw bool, proxyPort int, host mesh.FilterHost, extra string) *rig {
	t.Helper()
	envoytest.Find(t)
	dir := t.TempDir()
	r := &rig{t: t, file: filepath.Join(dir, "mesh.yaml"), proxyPort: proxyPort}
	for i := range r.backends {
		back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
		t.Cleanup(back.Close)
		_, r.backends[i], _ = net.SplitHostPort(back.Listener.Addr().String())
	}
	if proxyPort == 0 {
		r.proxyPort = envoytest.FreePort(t)
	}
	r.write(r.yaml(50, extra))
	r.xds, r.pages, r.log, r.stop = start(t, dir)
	md := map[string]any{"NAMESPACE": "default", "INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": fmt.Sprint(r.proxyPort)}
	if host != "" {
		md["MIZZEN_FILTERS"] = string(host)
	}
	config, err := bootstrap.Config(bootstrap.Options{NodeID: "sidecar~127.0.0.1~curl.default~default.svc.cluster.local",
		Metadata: md, XDSAddress: r.xds, StateOfTheWorld: sotw})
	if err != nil {
		t.Fatal(err)
	}
	r.envoy = envoytest.Start(t, envoytest.Options{Config: string(config), Module: "-"})
	proxy := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", r.proxyPort)}
	r.client = &http.Client{Timeout: wait, Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	t.Cleanup(r.client.CloseIdleConnections)
	return r
}

func (r *rig) status() []server.ProxyStatus {
	var list []server.ProxyStatus
	fetch(r.t, "http://"+r.pages+"/debug/syncz", &list)
	return list
}

func (r *rig) synced(generation uint64) {
	r.t.Helper()
	var last []server.ProxyStatus
	defer func() {
		if r.t.Failed() {
			r.t.Logf("status %+v\n%s", last, r.log)
		}
	}()
	eventually(r.t, "synced", func() bool {
		last = r.status()
		return len(last) == 1 && last[0].Synced && last[0].Generation >= generation
	})
}

func (r *rig) get() error {
	resp, err := r.client.Get("http://reviews.example.com:9080/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

var pushes = regexp.MustCompile(`(?m)^pilot_xds_pushes\{type="(\w+)"\} (\d+)`)

func (r *rig) pushes() map[string]string {
	out := map[string]string{}
	for _, m := range pushes.FindAllStringSubmatch(fetch(r.t, "http://"+r.pages+"/metrics", nil), -1) {
		out[m[1]] = m[2]
	}
	return out
}

func TestEnvoy(t *testing.T) {
	for _, sotw := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "state of the world"}[sotw], func(t *testing.T) {
			r := newRig(t, sotw, 0, "")
			r.synced(1)
			if err := r.get(); err != nil {
				t.Fatal(err)
			}
			dump := filepath.Join(os.Getenv("MIZZEN_DUMP"), "dump-"+map[bool]string{false: "delta", true: "sotw"}[sotw]+".json")
			if os.Getenv("MIZZEN_DUMP") != "" {
				_ = os.WriteFile(dump, []byte(fetch(t, "http://"+r.envoy.Admin()+"/config_dump?include_eds", nil)), 0o644)
				_ = os.WriteFile(dump+".ours", []byte(fetch(t, "http://"+r.pages+"/debug/config_dump?proxyID=curl.default", nil)), 0o644)
			}
			before := r.pushes()
			r.write(r.yaml(10, ""))
			r.synced(2)
			after := r.pushes()
			for _, k := range []string{"cds", "eds", "lds"} {
				if before[k] != after[k] {
					t.Errorf("a change of weights pushed %s: %s, then %s", k, before[k], after[k])
				}
			}
			if !sotw && (before["rds"] != after["rds"] || before["vhds"] == after["vhds"]) {
				t.Errorf("a change of weights should travel as one virtual host: %v, then %v", before, after)
			}
			r.restart()
			r.synced(1)
			for k, n := range r.pushes() {
				if n != "0" {
					t.Errorf("%s pushes of %s after a restart that changed nothing", n, k)
				}
			}
			if err := r.get(); err != nil {
				t.Error(err)
			}
		})
	}
}

// restart replaces the control plane by a new one at the same addresses.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
	_, r.pages, r.log, r.stop = startAt(r.t, filepath.Dir(r.file), r.xds)
}

func TestNoRequestFailsWhileSubsetsComeAndGo(t *testing.T) {
	r := newRig(t, false, 0, "")
	r.synced(1)
	var sent, failed atomic.Int64
	var first atomic.Value
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			sent.Add(1)
			if err := r.get(); err != nil {
				failed.Add(1)
				first.CompareAndSwap(nil, err.Error())
			}
		}
	}()
	for i := range 30 {
		s := r.yaml(i, "")
		// Every other time the subsets have other names, so clusters come and go.
		if i%2 == 1 {
			s = strings.NewReplacer("subset: v", fmt.Sprintf("subset: x%d-", i), "name: v", fmt.Sprintf("name: x%d-", i)).Replace(s)
		}
		r.write(s)
		r.synced(uint64(i + 1))
	}
	close(stop)
	<-done
	if failed.Load() > 0 || sent.Load() < 30 {
		t.Errorf("%d of %d requests failed, the first with %v", failed.Load(), sent.Load(), first.Load())
	}
}

func TestListenerThatCannotBind(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRig(t, false, l.Addr().(*net.TCPAddr).Port, "")
	eventually(t, "the rejection is told", func() bool {
		s := fetch(t, "http://"+r.pages+"/debug/diagnostics", nil)
		return strings.Contains(s, server.CodeRejected) && strings.Contains(s, "Address already in use")
	})
	if st := r.status(); st[0].Types["lds"].State != server.StateError || st[0].Types["cds"].State != server.StateSynced {
		t.Errorf("status %+v", st)
	}
}

func TestModuleThatIsNotThere(t *testing.T) {
	for _, h := range []mesh.FilterHost{mesh.HostModule, mesh.HostGolang} { // a stock Envoy has no golang filter at all
		t.Run(string(h), func(t *testing.T) { moduleThatIsNotThere(t, h) })
	}
}

func moduleThatIsNotThere(t *testing.T, h mesh.FilterHost) {
	r := newRig(t, false, 0, h)
	r.synced(1)
	if st := r.status(); st[0].Module {
		t.Error("the proxy is still taken to have the module")
	}
	if s := fetch(t, "http://"+r.pages+"/debug/diagnostics", nil); !strings.Contains(s, server.CodeNoModule) {
		t.Errorf("diagnostics %s", s)
	}
	if err := r.get(); err != nil {
		t.Errorf("native routes do not work: %v", err)
	}
}
