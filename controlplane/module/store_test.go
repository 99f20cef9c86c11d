package module

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/tinywasm"
)

// rig is a store with what it says.
type rig struct {
	*Store
	dir  string
	news chan struct{}
}

func newRig(t *testing.T, dir string) *rig {
	t.Helper()
	r := &rig{dir: dir, news: make(chan struct{}, 100)}
	s, err := Open(Options{Dir: dir, Changed: func() { r.news <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	r.Store = s
	t.Cleanup(s.Close)
	return r
}

// until waits for news until ok.
func (r *rig) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-r.news:
		case <-late:
			t.Fatalf("%s: never", what)
		}
	}
}

func module(url, sha256 string) *mesh.Module {
	return &mesh.Module{Key: url + " " + sha256, URL: url, SHA256: sha256}
}

// one wants one module and gives its digest, or why it is not there.
func (r *rig) one(t *testing.T, m *mesh.Module) (string, error) {
	t.Helper()
	r.Want([]*mesh.Module{m})
	r.until(t, m.URL, func() bool { return r.Digest(m.Key) != "" || r.Err(m.Key) != nil })
	return r.Digest(m.Key), r.Err(m.Key)
}

var plain1 = tinywasm.Plugin{ResponseHeader: [2]string{"x-a", "1"}}.Module()

func packed(t *testing.T, name string, zip bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for n, content := range map[string][]byte{"README": []byte("nothing"), name: plain1} {
		if err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if !zip {
		return b.Bytes()
	}
	return zipped(t, b.Bytes())
}

func zipped(t *testing.T, raw []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// TestHTTP: what is served is taken if it is a module of a proxy, as itself or packed, and has the wanted sum.
func TestHTTP(t *testing.T) {
	files := map[string][]byte{
		"/plain.wasm": plain1, "/zipped": zipped(t, plain1), "/packed.tar": packed(t, "any.wasm", false), "/packed.tgz": packed(t, "./plugin.wasm", true),
		"/text": []byte("hello"), "/other.wasm": tinywasm.Plugin{NotForProxies: true}.Module(), "/cut.wasm": plain1[:40],
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if files[r.URL.Path] == nil {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(files[r.URL.Path])
	}))
	defer s.Close()
	r := newRig(t, t.TempDir())
	for _, x := range []struct{ path, sha256, err string }{
		{"/plain.wasm", "", ""}, {"/plain.wasm", sum(plain1), ""}, {"/zipped", sum(plain1), ""}, {"/zipped", sum(files["/zipped"]), ""},
		{"/packed.tar", "", ""}, {"/packed.tgz", sum(plain1), ""},
		{"/plain.wasm", sum([]byte("x")), "its SHA-256 is " + sum(plain1)},
		{"/text", "", "not a WebAssembly module"}, {"/other.wasm", "", "no module for a proxy"}, {"/cut.wasm", "", "damaged"},
		{"/nowhere", "", "404 Not Found"},
	} {
		digest, err := r.one(t, module(s.URL+x.path, x.sha256))
		switch {
		case x.err == "" && (err != nil || digest != sum(plain1)):
			t.Errorf("%s %s: %q, %v", x.path, x.sha256, digest, err)
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s %s: %v, want %s", x.path, x.sha256, err, x.err)
		}
	}
}

// TestRetry: a module that is not there is asked for until it is; what was fetched is not fetched again, by a later store neither,
// unless its version is another.
func TestRetry(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == 1 {
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(plain1)
	}))
	defer s.Close()
	count := func() int { mu.Lock(); defer mu.Unlock(); return asked }
	dir := filepath.Join(t.TempDir(), "modules")
	r := newRig(t, dir)
	m := module(s.URL+"/a.wasm", "")
	if _, err := r.one(t, m); err == nil || !strings.Contains(err.Error(), "503") {
		t.Fatalf("the first answer is %v", err)
	}
	r.until(t, "the module", func() bool { return r.Digest(m.Key) != "" && r.Err(m.Key) == nil })
	r.Want(nil)
	r.Want([]*mesh.Module{m})
	if r.Digest(m.Key) == "" || count() != 2 {
		t.Errorf("asked %d times", count())
	}
	r.Close()
	again := newRig(t, dir)
	again.Want([]*mesh.Module{m})
	if again.Digest(m.Key) == "" || count() != 2 {
		t.Errorf("after a restart: digest %q, asked %d times", again.Digest(m.Key), count())
	}
	next := &mesh.Module{Key: m.Key + " v2", URL: m.URL, Version: "v2"}
	if digest, err := again.one(t, next); digest == "" || count() != 3 {
		t.Errorf("another version: %q %v, asked %d times", digest, err, count())
	}
}

// TestFile: a file is there at once, and again when it changes; what it was stays while it is broken.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.wasm")
	write := func(b []byte) {
		if err := os.WriteFile(file+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	r := newRig(t, t.TempDir())
	m := module("file://"+file, "")
	r.Want([]*mesh.Module{m})
	if r.Digest(m.Key) != "" || r.Err(m.Key) == nil {
		t.Errorf("without a file: %q %v", r.Digest(m.Key), r.Err(m.Key))
	}
	write(plain1)
	r.until(t, "the file", func() bool { return r.Digest(m.Key) == sum(plain1) && r.Err(m.Key) == nil })
	write([]byte("broken"))
	r.until(t, "the mistake", func() bool { return r.Digest(m.Key) == sum(plain1) && r.Err(m.Key) != nil })
	second := tinywasm.Plugin{Refuse: 401}.Module()
	write(second)
	r.until(t, "the second", func() bool { return r.Digest(m.Key) == sum(second) && r.Err(m.Key) == nil })
}

// TestHandler: modules are served by their content, and nothing else is.
func TestHandler(t *testing.T) {
	r := newRig(t, t.TempDir())
	digest, err := r.cache.keep("a", plain1)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/" + digest + ".wasm": 200, digest + ".wasm": 200, "/" + sum([]byte("x")) + ".wasm": 404, "/index.json": 404, "/../" + digest + ".wasm": 404, "/" + digest: 404,
	} {
		w := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.URL.Path = path
		r.Handler().ServeHTTP(w, req)
		if w.Code != want || want == 200 && !bytes.Equal(w.Body.Bytes(), plain1) {
			t.Errorf("%s: %d, %d bytes", path, w.Code, w.Body.Len())
		}
	}
}

// TestCleanUp: a store that begins removes what nothing leads to.
func TestCleanUp(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir)
	digest, err := r.cache.keep("a", plain1)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, sum([]byte("x"))+".wasm")
	if err := os.WriteFile(left, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	next := newRig(t, dir)
	if exists(left) || next.cache.find("a") != digest {
		t.Errorf("left over: %t; kept: %q", exists(left), next.cache.find("a"))
	}
}
