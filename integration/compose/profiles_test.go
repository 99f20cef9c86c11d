package compose

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// contribTag is what MIZZEN_ENVOY names for profile contrib.
const contribTag = "contrib-v1.39.3"

// hosts counts the proxies by what runs their policies.
func (s *shop) hosts(t *testing.T) map[string]int {
	t.Helper()
	a := s.pages.Must(t, "/debug/syncz")
	out := map[string]int{}
	for _, m := range regexp.MustCompile(`"filters": *"([^"]*)"`).FindAllStringSubmatch(a.Body, -1) {
		out[m[1]]++
	}
	return out
}

// change changes the profile of the shop that runs, with nothing taken down: once docker compose has come back, every proxy is another.
func (s *shop) change(t *testing.T, host string, env ...string) {
	t.Helper()
	s.env = env
	begin := time.Now()
	s.up(t)
	t.Logf("%s docker compose up: healthy in %s", strings.Join(env, " "), time.Since(begin).Round(time.Second))
	// The control plane forgets a proxy that has gone when its connection breaks.
	meshtest.Eventually(t, "every proxy is one of "+host, func() bool {
		got := s.hosts(t)
		return len(got) == 1 && got[host] == proxies
	})
	a := s.client.Must(t, "/")
	if a.Code != 200 {
		t.Errorf("after the change to %v: %d %s", env, a.Code, a.Body)
	}
}

// The proxies find the policies as WebAssembly, and do the same with them; and then as the dynamic module again.
func (s *shop) wasm(t *testing.T) {
	s.env = []string{"COMPOSE_PROFILES=wasm"}
	s.image(t, "wasm")
	s.change(t, string(mesh.HostWasm), s.env...)
	func() {
		defer s.restore(t)
		s.weights(t)
	}()
	s.change(t, string(mesh.HostModule))
	s.noRules(t)
}

// The images for contrib Envoys are built, and hold the library where the control plane has Envoys look for it. The stand-in of the contrib Envoy is
// a stock one, which has no golang filter: what it refuses is what a contrib Envoy would be given. It goes on with its own filters.
func (s *shop) contrib(t *testing.T) {
	base := strings.Replace(envoyImage, ":", ":contrib-", 1)
	s.engine.build(t, base, "envoy", contribTag, envoyFile(t))
	s.env = []string{"COMPOSE_PROFILES=contrib", "MIZZEN_ENVOY=" + contribTag}
	s.image(t, "gateway")
	s.image(t, "contrib")
	if made, _ := s.label(t, base); made == "" || !s.has(t, "mizzen/proxy:"+contribTag, made) {
		t.Errorf("mizzen/proxy:%s is made from another image than %s", contribTag, base)
	}
	t.Logf("sizes in MB: golang %d", s.size(t, "mizzen/golang"))
	s.change(t, string(mesh.HostNative), s.env...) // refused
	s.library(t)
	for _, proxy := range []string{"gateway", "catalog-v1-proxy"} {
		var node struct {
			Node struct{ Metadata map[string]any }
		}
		if err := json.Unmarshal([]byte(s.exec(t, proxy, "cat", "/etc/istio/proxy/envoy.json")), &node); err != nil {
			t.Fatal(err)
		}
		if m := node.Node.Metadata; m["MIZZEN_FILTERS"] != string(mesh.HostGolang) || m["MIZZEN_GOLANG"] != mesh.DefaultGolang {
			t.Errorf("%s says of itself %v", proxy, m)
		}
		if said := s.logs(t, proxy); !strings.Contains(said, "Didn't find a registered implementation for 'mizzen' with type URL: 'envoy.extensions.filters.http.golang.v3alpha.Config'") {
			t.Errorf("%s was given no golang filter:\n%s", proxy, lastLines(said, 10))
		}
	}
	if a := s.pages.Must(t, "/debug/diagnostics"); !strings.Contains(a.Body, server.CodeNoModule) || !strings.Contains(a.Body, mesh.DefaultGolang) {
		t.Errorf("no finding tells of the refusal: %s", a.Body)
	}
	func() {
		defer s.restore(t)
		s.weights(t)
	}()
}

// library asserts that the proxies have the library at the path that the control plane names, that it alone is there, and that it is one for
// Envoy's golang filter which a contrib Envoy's system can load.
func (s *shop) library(t *testing.T) {
	t.Helper()
	dir, name := path.Split(mesh.DefaultGolang)
	if got := strings.Fields(s.exec(t, "gateway", "ls", dir)); !slices.Equal(got, []string{name}) {
		t.Errorf("%s holds %v", dir, got)
	}
	archive, err := s.raw(t.Context(), "GET", "/containers/"+s.container(t, "gateway")+"/archive?path="+mesh.DefaultGolang, nil)
	if err != nil {
		t.Fatal(err)
	}
	files := tar.NewReader(bytes.NewReader(archive))
	if _, err := files.Next(); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(files)
	if err != nil {
		t.Fatal(err)
	}
	so, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	exported, err := so.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"envoyGoFilterNewHttpPluginConfig", "envoyGoFilterMergeHttpPluginConfig", "envoyGoFilterOnHttpHeader", "envoyGoFilterOnHttpDestroy"} {
		if !slices.ContainsFunc(exported, func(s elf.Symbol) bool { return s.Name == want && s.Section != elf.SHN_UNDEF }) {
			t.Errorf("the library does not export %s", want)
		}
	}
	// Envoy's images are Ubuntu 22.04 at the oldest, whose C library is 2.35; Go's image, Debian 12, has 2.36.
	imported, err := so.ImportedSymbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range imported {
		if slices.Contains([]string{"GLIBC_2.36", "GLIBC_2.37", "GLIBC_2.38", "GLIBC_2.39"}, x.Version) {
			t.Errorf("the library wants %s of %s, which Envoy's image may not have", x.Name, x.Version)
		}
	}
}
