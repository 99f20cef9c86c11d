package cni

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

const nodes = `{"cniVersion": "1.0.0", "name": "node", "plugins": [
  {"type": "bridge",
     "ipam": {"type": "host-local", "plugins": [{"type": "x"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}  ], "disableCheck": true}
`

// TestList: an entry comes in behind the others and goes without a trace.
func TestList(t *testing.T) {
	for _, list := range []string{nodes, `{"plugins":[{"type":"a"}]}`, "{\n \"plugins\": [\n {\"type\": \"a\"}\n ]\n}\n"} {
		one, err := chain([]byte(list), "mizzen-cni", []byte(`{"type":"mizzen-cni"}`))
		if err != nil {
			t.Fatal(err)
		}
		two, err := chain(one, "mizzen-cni-canary", []byte(`{"type":"mizzen-cni-canary","a":1}`))
		if err != nil {
			t.Fatal(err)
		}
		all, err := members(two)
		if n := len(all); err != nil || !json.Valid(two) || all[n-2].kind != "mizzen-cni" || all[n-1].kind != "mizzen-cni-canary" {
			t.Errorf("%v in\n%s", err, two)
		}
		if again, err := chain(two, "mizzen-cni", []byte(`{"type":"mizzen-cni"}`)); err != nil || string(again) != string(two) {
			t.Errorf("the same once more: %v\n%s", err, again)
		}
		back, others, err := unchain(two, "mizzen-cni")
		if err == nil && others == len(all)-1 {
			back, _, err = unchain(back, "mizzen-cni-canary")
		}
		if err != nil || string(back) != list {
			t.Errorf("%v, of\n%s\nis left\n%s", err, list, back)
		}
	}
	for _, list := range []string{"", "[]", "{}", `{"plugins":{}}`, `{"plugins":[]}`, `{"plugins":[{"type":"a"}`, `{"plugins":["a"]}`} {
		if out, err := chain([]byte(list), "x", []byte("{}")); err == nil {
			t.Errorf("%q becomes %s", list, out)
		}
	}
}

// cluster is an API server as far as an installer asks it.
type cluster struct {
	*httptest.Server
	mu      sync.Mutex
	tokens  int
	set     string   // the DaemonSet; "": there is none
	pods    []string // as JSON
	deleted []string
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{set: `{"metadata":{}}`}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/api/v1/namespaces/istio-system/serviceaccounts/mizzen-cni/token":
		c.tokens++
		fmt.Fprintf(w, `{"status":{"token":"t%d","expirationTimestamp":%q}}`, c.tokens, time.Now().Add(time.Hour).Format(time.RFC3339))
	case r.URL.Path == "/apis/apps/v1/namespaces/istio-system/daemonsets/mizzen-cni" && c.set != "":
		_, _ = io.WriteString(w, c.set)
	case r.Method == http.MethodDelete:
		body, _ := io.ReadAll(r.Body)
		c.deleted = append(c.deleted, r.URL.Path+" "+string(body))
		_, _ = io.WriteString(w, "{}")
	case r.URL.Path == "/api/v1/pods" && r.URL.Query().Get("fieldSelector") == "spec.nodeName=node1":
		fmt.Fprintf(w, `{"items":[%s]}`, strings.Join(c.pods, ","))
	default:
		http.Error(w, `{"message":"no such thing"}`, http.StatusNotFound)
	}
}

// daemonSet changes it.
func (c *cluster) daemonSet(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set = s
}

func (c *cluster) installer(t *testing.T, o Options) *installer {
	t.Helper()
	server, err := newAPI(c.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}), func() (string, error) { return "own", nil })
	if err != nil {
		t.Fatal(err)
	}
	return o.with(server)
}

// node makes the folders of a node, and options for them.
func node(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	o := Options{
		Plugin: Name, ConfDir: filepath.Join(dir, "conf"), BinDir: filepath.Join(dir, "bin"), Program: filepath.Join(dir, "program"),
		ExcludeNamespaces: []string{"kube-system"}, Namespace: "istio-system", DaemonSet: Name, ServiceAccount: Name, Node: "node1", Repair: true,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, d := range []string{o.ConfDir, o.BinDir} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, o.Program, "the plugin")
	return o
}

func put(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

// start runs an installer until end is called, which returns what it came to.
func start(t *testing.T, i *installer) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- i.run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	envoytest.Await(t, time.Minute, what, ok)
}

// TestInstaller: from a node without any configuration, over everything that others do to its files and a restart, to the end.
func TestInstaller(t *testing.T) {
	o, c := node(t), newCluster(t)
	first, second := filepath.Join(o.ConfDir, "05-other.conf"), filepath.Join(o.ConfDir, "10-node.conflist")
	end := start(t, c.installer(t, o))
	await(t, "the plugin is copied", func() bool { return content(o.binary()) == "the plugin" })
	if where, err := Ready(o); err == nil {
		t.Errorf("ready without a configuration: %s", where)
	}
	ready := func(file string) func() bool {
		return func() bool { where, err := Ready(o); return err == nil && where == file }
	}
	put(t, second, nodes)
	await(t, "it is in the configuration", ready(second))
	for _, want := range []string{`{"type": "portmap", "capabilities": {"portMappings": true}},`, `"kubeconfig":"` + o.kubeconfig() + `"`, `"excludeNamespaces":["kube-system"]`} {
		if got := content(second); !strings.Contains(got, want) {
			t.Errorf("the configuration has no %s:\n%s", want, got)
		}
	}
	if got := content(o.kubeconfig()); !strings.Contains(got, `"token": "t1"`) {
		t.Errorf("the kubeconfig: %s", got)
	}
	put(t, second, strings.ReplaceAll(nodes, "portmap", "bandwidth"))
	await(t, "it is in the configuration that was written anew", func() bool {
		return ready(second)() && strings.Contains(content(second), "bandwidth")
	})
	put(t, first, `{"cniVersion":"0.4.0","name":"other","type":"ptp"}`)
	await(t, "it is in the configuration that comes first now", ready(strings.TrimSuffix(first, ".conf")+".conflist"))
	await(t, "and not in the other", func() bool { return content(second) == strings.ReplaceAll(nodes, "portmap", "bandwidth") })
	if err := os.Remove(o.binary()); err != nil {
		t.Fatal(err)
	}
	await(t, "the plugin is there again", func() bool { return content(o.binary()) == "the plugin" })
	end()
	if _, err := Ready(o); err != nil {
		t.Errorf("while the DaemonSet's pod is restarted: %v", err)
	}
	put(t, o.Program, "a newer plugin")
	end = start(t, c.installer(t, o))
	await(t, "the plugin is the new one, with a token of its own", func() bool {
		return content(o.binary()) == "a newer plugin" && strings.Contains(content(o.kubeconfig()), `"token": "t2"`)
	})
	c.daemonSet("")
	end()
	if got := content(first); got != `{"cniVersion":"0.4.0","name":"other","type":"ptp"}` {
		t.Errorf("the configuration that was there: %s", got)
	}
	if left := names(t, o.ConfDir, o.BinDir); !slices.Equal(left, []string{"05-other.conf", "10-node.conflist"}) {
		t.Errorf("left: %v", left)
	}
}

func names(t *testing.T, dirs ...string) (out []string) {
	t.Helper()
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			out = append(out, e.Name())
		}
	}
	return out
}

// TestEnd: whether the DaemonSet is there decides; who cannot tell leaves the plugin where it is.
func TestEnd(t *testing.T) {
	for name, end := range map[string]struct {
		set   string
		away  bool
		stays bool
	}{
		"a restart":                      {set: `{"metadata":{}}`, stays: true},
		"the DaemonSet is being deleted": {set: `{"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"}}`},
		"the DaemonSet is gone":          {},
		"no API server":                  {away: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			o, c := node(t), newCluster(t)
			put(t, filepath.Join(o.ConfDir, "10-node.conflist"), nodes)
			i := c.installer(t, o)
			if err := i.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.daemonSet(end.set); end.away {
				c.Close()
			}
			if err := i.leave(); err != nil {
				t.Error(err)
			}
			if _, err := Ready(o); (err == nil) != end.stays {
				t.Errorf("stays: %v, want %v", err == nil, end.stays)
			}
			if got := content(filepath.Join(o.ConfDir, "10-node.conflist")); !end.stays && got != nodes {
				t.Errorf("left:\n%s", got)
			}
		})
	}
}

// TestRepair: pods that wait in vain are deleted if they started too early and somebody makes others.
func TestRepair(t *testing.T) {
	o, c := node(t), newCluster(t)
	put(t, filepath.Join(o.ConfDir, "10-node.conflist"), nodes)
	i := c.installer(t, o)
	if err := i.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	pod := func(name, owner, container string, code int, started time.Time) {
		c.pods = append(c.pods, fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"shop","uid":"u","annotations":{"sidecar.istio.io/status":"{}","mizzen.dev/interception":"{}"},%s
			"x":1},"status":{"startTime":%q,"initContainerStatuses":[{"name":%q,"lastState":{"terminated":{"exitCode":%d}}}]}}`, name, owner, started.Format(time.RFC3339), container, code))
	}
	const owned = `"ownerReferences":[{"controller":true}],`
	before, after := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	pod("early", owned, "istio-validation", 1, before)
	pod("late", owned, "istio-validation", 1, after)
	pod("fine", owned, "istio-validation", 0, before)
	pod("other", owned, "init", 1, before)
	pod("nobodys", "", "istio-validation", 1, before)
	if err := i.repair(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{`/api/v1/namespaces/shop/pods/early {"preconditions":{"uid":"u"}}`}; !slices.Equal(c.deleted, want) {
		t.Errorf("deleted: %v", c.deleted)
	}
}
