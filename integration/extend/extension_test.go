package extend

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/internal/registrytest"
	"github.com/mizzen-mesh/mizzen/internal/tinywasm"
	"github.com/mizzen-mesh/mizzen/wasm/wasmtest"
)

// luaExtension is a TrafficExtension with a script for one workload.
func luaExtension(name, app, code string) string {
	return fmt.Sprintf(`---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  lua:
    inlineCode: |
      %s
`, name, app, code)
}

// TestTrafficExtensionLua: a script sees one workload's requests. A script that Envoy cannot read is told, and costs nothing: neither
// the script before it nor anything else.
func TestTrafficExtensionLua(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	m.Apply(t, luaExtension("script", "api", `function envoy_on_response(h) h:headers():add("x-lua", "first") end`))
	c.Await(t, "the header", hasHeader("x-lua", "first"), api)
	if a := c.Must(t, other); a.Code != 200 || a.Header.Get("x-lua") != "" {
		t.Errorf("the other workload answers %d with %q", a.Code, a.Header.Get("x-lua"))
	}
	out, status := m.Run(t, luaExtension("script", "api", `function envoy_on_response(h) this is no Lua`), "apply", "-f", "-")
	if status == 0 || !strings.Contains(out, "(TrafficExtension default/script)") {
		t.Errorf("apply ended with %d:\n%s", status, out)
	}
	if a := c.Must(t, api); !hasHeader("x-lua", "first")(a) {
		t.Errorf("after the broken script: %d, header %q", a.Code, a.Header.Get("x-lua"))
	}
	m.Apply(t, luaExtension("script", "api", `function envoy_on_response(h) h:headers():add("x-lua", "second") end`))
	c.Await(t, "the next script", hasHeader("x-lua", "second"), api)
}

// TestTrafficExtensionWasm: a module as an image, in a registry that wants a login; pulled again when its plugin changes, for its tag
// is latest.
func TestTrafficExtensionWasm(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	r := registrytest.New(t)
	r.WantToken()
	r.Push(t, "latest", registrytest.WasmType, responding("x-plugin", "first").Module())
	extension := func(more string) string {
		return `---
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: image}
spec:
  selector: {matchLabels: {app: api}}
  wasm: {url: "` + r.URL("") + `", imagePullSecret: pull` + more + `}
`
	}
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, r.Host(), base64.StdEncoding.EncodeToString([]byte(registrytest.Login)))
	m.Apply(t, `
apiVersion: v1
kind: Secret
metadata: {name: pull}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '`+config+`'}
`+extension(""))
	c.Await(t, "the header", hasHeader("x-plugin", "first"), api)
	r.Push(t, "latest", registrytest.WasmType, responding("x-plugin", "second").Module())
	m.Apply(t, extension(", pluginName: changed"))
	c.Await(t, "the image that latest is now", hasHeader("x-plugin", "second"), api)
}

// TestWasmPluginNetwork: a plugin of connections ends those of one workload's port.
func TestWasmPluginNetwork(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	address := ""
	for _, w := range m.Ready.Workloads {
		if w.Name == "bytes-0" {
			address = net.JoinHostPort(w.Address, "9000")
		}
	}
	echoes := func() bool {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return false
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 5)
		_, err = conn.Write([]byte("hello"))
		if err == nil {
			_, err = io.ReadFull(conn, b)
		}
		return err == nil && string(b) == "hello"
	}
	meshtest.Eventually(t, "an echo", echoes)
	url, write := moduleFile(t)
	write(tinywasm.Plugin{CloseConnections: true})
	m.Apply(t, plugin("network", "bytes", url, "type: NETWORK", "match: [{mode: SERVER, ports: [{number: 9000}]}]"))
	meshtest.Eventually(t, "no echo any more", func() bool { return !echoes() })
	if a := c.Must(t, "http://bytes:8001/"); a.Code != 200 {
		t.Errorf("another port answers %d", a.Code)
	}
}

// TestWasmPluginOfOurOwn: Mizzen's fault filter as a module, with its own configuration. A proxy takes seconds of CPU to have a module
// made by Go running.
func TestWasmPluginOfOurOwn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a module made by Go")
	}
	m := shared.Mesh(t)
	c := m.From(t, "front-0")
	file := filepath.Join(envoytest.Root(), "build", "mizzen-fault.wasm")
	if err := wasmtest.BuildGo(envoytest.Root(), "./wasm/cmd/fault", file); err != nil {
		t.Fatal(err)
	}
	yaml := plugin("fault", "other", "file://"+file, `pluginConfig: {fault: {rules: [{match: [{path: {prefix: /teapot}}], abort: {percentage: 100, httpStatus: 418}}]}}`)
	if out, status := m.Run(t, yaml, "apply", "-f", "-"); status != 0 {
		t.Logf("apply ended with %d, perhaps for it does not wait that long:\n%s", status, out)
	}
	t.Cleanup(func() { m.Run(t, yaml, "delete", "-f", "-") })
	envoytest.Await(t, 2*time.Minute, "an abort", func() bool {
		a, err := c.Get(other + "teapot")
		return err == nil && a.Code == 418
	})
	if a := c.Must(t, other); a.Code != 200 {
		t.Errorf("another path answers %d", a.Code)
	}
	if a := c.Must(t, api+"teapot"); a.Code != 200 {
		t.Errorf("the other workload answers %d", a.Code)
	}
}
