package run

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/tinywasm"
)

// TestPluginsAreFetched: a proxy that does not see the control plane's modules fetches them from it. When another module takes the
// place of the first, no request fails or passes by the plugin.
func TestPluginsAreFetched(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	modules := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(tinywasm.Plugin{ResponseHeader: [2]string{"x-plugin", strings.Trim(r.URL.Path, "/")}}.Module())
	}))
	defer modules.Close()
	r := newRig(t, false, 0, "")
	r.synced(1)
	plugin := func(name string) string {
		return fmt.Sprintf(`---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: fetched, namespace: default}
spec: {url: "%s/%s"}
`, modules.URL, name)
	}
	ask := func() (int, string) {
		r.client.CloseIdleConnections() // one from before has the listener from before
		resp, err := r.client.Get("http://reviews.example.com:9080/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("x-plugin")
	}
	r.write(r.yaml(50, plugin("first")))
	eventually(t, "the plugin", func() bool { _, header := ask(); return header == "first" })
	r.write(r.yaml(50, plugin("second")))
	eventually(t, "the second module", func() bool {
		code, header := ask()
		if code != http.StatusOK || header == "" {
			t.Fatalf("while the module is replaced: %d, header %q", code, header)
		}
		return header == "second"
	})
	stats := fetch(t, "http://"+r.envoy.Admin()+"/stats?filter=wasm.remote_load_fetch_successes", nil)
	if !strings.Contains(stats, ": 2") {
		t.Errorf("fetched from the control plane: %s", stats)
	}
}

// TestUnservedModule: where the control plane does not know its own address, a module that proxies must fetch is told of, and one that
// is a file of theirs is not.
func TestUnservedModule(t *testing.T) {
	e := &mesh.Extension{Bearing: mesh.Bearing{Origin: mesh.Origin{Kind: "WasmPlugin"}}, Wasm: &mesh.Wasm{Digest: "0"}}
	d := unserved(e, "")
	if d == nil || d.Severity != istio.Warning || !strings.Contains(d.String(), "--module-addr") {
		t.Errorf("no address: %v", d)
	}
	if d := unserved(e, "10.0.0.1:15014"); d != nil {
		t.Errorf("with an address: %v", d)
	}
	e.Wasm.File = "/there.wasm"
	if d := unserved(e, ""); d != nil {
		t.Errorf("a file of the proxy: %v", d)
	}
}
