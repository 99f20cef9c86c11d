// Package registrytest is a registry of images on this machine, for tests: one repository, team/plugin, perhaps behind a login.
package registrytest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Login is the name and password, with ":" between them, of who may pull.
const Login = "user:secret"

// Media types.
const (
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	IndexType    = "application/vnd.oci.image.index.v1+json"
	WasmType     = "application/vnd.module.wasm.content.layer.v1+wasm"
)

// Registry holds blobs and manifests.
type Registry struct {
	server *httptest.Server

	mu    sync.Mutex
	paths map[string][]byte // below the repository
	token string
	basic bool
}

// New starts an empty registry that lets everybody in. It ends with the test.
func New(t testing.TB) *Registry {
	t.Helper()
	r := &Registry{paths: map[string][]byte{}}
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.server.Close)
	return r
}

// Host is its host:port.
func (r *Registry) Host() string { return strings.TrimPrefix(r.server.URL, "http://") }

// URL is that of an image; reference is ":TAG" or "@sha256:HEX".
func (r *Registry) URL(reference string) string {
	return "oci://" + r.Host() + "/team/plugin" + reference
}

// WantToken has callers show a token, which Login gets; WantLogin has them show Login itself.
func (r *Registry) WantToken() { r.mu.Lock(); defer r.mu.Unlock(); r.token = "a-token" }

// WantLogin has callers show Login.
func (r *Registry) WantLogin() { r.mu.Lock(); defer r.mu.Unlock(); r.basic = true }

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte(Login))
	const scope = "repository:team/plugin:pull"
	switch {
	case req.URL.Path == "/token":
		if q := req.URL.Query(); req.Header.Get("Authorization") != login || q.Get("scope") != scope || q.Get("service") != "tests" {
			http.Error(w, "who are you", http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprintf(w, `{"token": %q}`, r.token)
		return
	case r.basic && req.Header.Get("Authorization") != login:
		w.Header().Set("WWW-Authenticate", `Basic realm="tests"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.token != "" && req.Header.Get("Authorization") != "Bearer "+r.token:
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="tests",scope=%q`, r.server.URL, scope))
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if b := r.paths[strings.TrimPrefix(req.URL.Path, "/v2/team/plugin")]; b != nil {
		_, _ = w.Write(b)
		return
	}
	http.NotFound(w, req)
}

// Put has b served as the content of a manifest or blob, such as "/blobs/sha256:HEX", whatever it is.
func (r *Registry) Put(path string, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths[path] = b
}

// Descriptor names a part of an image.
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
}

// Manifest is one of an image, or an index of several.
type Manifest struct {
	MediaType string       `json:"mediaType"`
	Layers    []Descriptor `json:"layers,omitempty"`
	Manifests []Descriptor `json:"manifests,omitempty"`
}

// Push puts an image of one layer under a tag, and gives the SHA-256 of its manifest.
func (r *Registry) Push(t testing.TB, tag, mediaType string, layer []byte) string {
	t.Helper()
	digest := "sha256:" + sum(layer)
	r.Put("/blobs/"+digest, layer)
	return r.PushManifest(t, tag, Manifest{MediaType: ManifestType, Layers: []Descriptor{{mediaType, digest}}})
}

// PushManifest puts a manifest under a tag, and gives its SHA-256.
func (r *Registry) PushManifest(t testing.TB, tag string, m Manifest) string {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r.Put("/manifests/"+tag, raw)
	r.Put("/manifests/sha256:"+sum(raw), raw)
	return sum(raw)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
