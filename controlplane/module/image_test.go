package module

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	reg "github.com/mizzen-mesh/mizzen/internal/registrytest"
)

// TestImages: artifacts with the module as a layer, images with plugin.wasm in theirs, an index of several; by tag and by digest; the
// wanted sum is the image's or the module's; whatever is not what it says it is is refused.
func TestImages(t *testing.T) {
	from := reg.New(t)
	artifact := from.Push(t, "artifact", reg.WasmType, plain1)
	from.Push(t, "generic", "application/wasm", plain1)
	from.Push(t, "docker", "application/vnd.docker.image.rootfs.diff.tar.gzip", packed(t, "plugin.wasm", true))
	from.Push(t, "compat", "application/vnd.oci.image.layer.v1.tar", packed(t, "./plugin.wasm", false))
	index := from.PushManifest(t, "index", reg.Manifest{MediaType: reg.IndexType, Manifests: []reg.Descriptor{{MediaType: reg.ManifestType, Digest: "sha256:" + artifact}}})
	from.PushManifest(t, "empty", reg.Manifest{MediaType: reg.ManifestType})
	from.Push(t, "text", "application/wasm", []byte("hello"))
	forged := from.Push(t, "forged", "application/wasm", []byte("another"))
	from.Put("/blobs/sha256:"+sum([]byte("another")), plain1)
	from.Put("/manifests/sha256:"+sum([]byte("x")), []byte(`{"layers": []}`))
	r := newRig(t, t.TempDir())
	for _, x := range []struct{ reference, sha256, err string }{
		{":artifact", "", ""}, {":generic", "", ""}, {":docker", "", ""}, {":compat", "", ""}, {":index", "", ""},
		{"@sha256:" + artifact, artifact, ""}, {"@sha256:" + index, index, ""},
		{":artifact", artifact, ""}, {":index", index, ""}, {":index", artifact, ""}, {":docker", sum(plain1), ""},
		{":artifact", sum([]byte("x")), "its SHA-256 is " + artifact},
		{":empty", "", "without layers"}, {":text", "", "not a WebAssembly module"}, {":none", "", "404"},
		{":forged", "", "a layer: its SHA-256 is"}, {"@sha256:" + forged, forged, "a layer: its SHA-256 is"},
		{"@sha256:" + sum([]byte("x")), sum([]byte("x")), "the manifest: its SHA-256 is"},
	} {
		digest, err := r.one(t, module(from.URL(x.reference), x.sha256))
		switch {
		case x.err == "" && (err != nil || digest != sum(plain1)):
			t.Errorf("%s %s: %q, %v", x.reference, x.sha256, digest, err)
		case x.err != "" && (err == nil || !strings.Contains(err.Error(), x.err)):
			t.Errorf("%s %s: %v, want %s", x.reference, x.sha256, err, x.err)
		}
	}
}

// TestLogin: a registry that wants to know who asks gets the login of the Secret, at once or for a token; nobody else's.
func TestLogin(t *testing.T) {
	for name, want := range map[string]func(*reg.Registry){"token": (*reg.Registry).WantToken, "login": (*reg.Registry).WantLogin} {
		t.Run(name, func(t *testing.T) {
			from := reg.New(t)
			from.Push(t, "v1", reg.WasmType, plain1)
			want(from)
			encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
			auth := encode(reg.Login)
			r := newRig(t, t.TempDir())
			for config, good := range map[string]bool{
				"": false, "no JSON": false,
				`{"auths": {"HOST": {"auth": "` + auth + `"}}}`:                                                 true,
				`{"auths": {"http://HOST/v2/": {"username": "user", "password": "secret"}}}`:                    true,
				`{"auths": {"HOST": {"auth": "` + encode("x:y") + `"}, "HOST/team": {"auth": "` + auth + `"}}}`: true,
				`{"auths": {"HOST/teams": {"auth": "` + auth + `"}}}`:                                           false,
				`{"auths": {"other.example.com": {"auth": "` + auth + `"}}}`:                                    false,
				`{"auths": {"HOST": {"auth": "` + encode("user:wrong") + `"}}}`:                                 false,
			} {
				m := module(from.URL(":v1"), "")
				m.Key += config
				if config != "" {
					m.Credentials = mesh.Sensitive(strings.ReplaceAll(config, "HOST", from.Host()))
				}
				digest, err := r.one(t, m)
				if (digest != "") != good {
					t.Errorf("%s: %q, %v", config, digest, err)
				}
				if err != nil && strings.Contains(err.Error(), auth) {
					t.Errorf("it tells a secret: %v", err)
				}
			}
		})
	}
}
