package module

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Media types of manifests, in the order in which they are asked for.
var manifestTypes = []string{
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
	"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}

// descriptor names a blob or a manifest.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"` // sha256:HEX
	Size      int64  `json:"size"`
}

// manifest is one of an image, or an index of several.
type manifest struct {
	MediaType string       `json:"mediaType"`
	Layers    []descriptor `json:"layers"`
	Manifests []descriptor `json:"manifests"`
}

// maxManifest is the largest manifest that is taken, bytes.
const maxManifest = 4 << 20

// image fetches a module from a registry: HOST/REPOSITORY[:TAG][@sha256:HEX]. It may be an artifact with a layer that is the
// module, or an image (Docker's, or OCI's "compat") whose last layer holds plugin.wasm. The wanted SHA-256 is the index's, the
// image's or the module's.
func (f *fetcher) image(ctx context.Context, image string, m *mesh.Module) ([]byte, error) {
	name, digest, pinned := strings.Cut(image, "@")
	host, repository, _ := strings.Cut(name, "/")
	repository, tag, _ := strings.Cut(repository, ":")
	reference := tag
	if pinned {
		reference = digest
	}
	r := &registry{fetcher: f, host: host, repository: repository, base: f.scheme(host) + "://" + host + "/v2/" + repository}
	if m.Credentials != nil {
		var err error
		if r.login, err = loginFor(m.Credentials, host, repository); err != nil {
			return nil, err
		}
	}
	top, sums, err := r.manifest(ctx, reference)
	if err != nil {
		return nil, err
	}
	if len(top.Manifests) > 0 { // modules run anywhere: the first is as good as any
		var own []string
		if top, own, err = r.manifest(ctx, top.Manifests[0].Digest); err != nil {
			return nil, err
		}
		sums = append(sums, own...)
	}
	raw, err := r.module(ctx, top)
	if err != nil {
		return nil, err
	}
	if err := verify(m.SHA256, append(sums, sum(raw))...); err != nil {
		return nil, err
	}
	return raw, proxyWasm(raw)
}

// manifest reads a manifest by tag or digest, and gives its own sum.
func (r *registry) manifest(ctx context.Context, reference string) (*manifest, []string, error) {
	raw, err := r.get(ctx, "/manifests/"+reference, http.Header{"Accept": manifestTypes})
	if err != nil {
		return nil, nil, err
	}
	if len(raw) > maxManifest {
		return nil, nil, errors.New("fetch module: a manifest of more than 4 MiB")
	}
	if want, ok := strings.CutPrefix(reference, "sha256:"); ok {
		if err := verify(want, sum(raw)); err != nil {
			return nil, nil, fmt.Errorf("fetch module: the manifest: %w", err)
		}
	}
	m := &manifest{}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, nil, fmt.Errorf("fetch module: read manifest: %w", err)
	}
	return m, []string{sum(raw)}, nil
}

// module takes the module out of an image.
func (r *registry) module(ctx context.Context, m *manifest) ([]byte, error) {
	isModule := func(d descriptor) bool {
		return d.MediaType == "application/wasm" || strings.HasSuffix(d.MediaType, "+wasm")
	}
	at := slices.IndexFunc(m.Layers, isModule)
	if at < 0 {
		at = len(m.Layers) - 1
	}
	if at < 0 {
		return nil, errors.New("fetch module: an image without layers")
	}
	d := m.Layers[at]
	want, ok := strings.CutPrefix(d.Digest, "sha256:")
	if !ok || !validDigest(want) {
		return nil, fmt.Errorf("fetch module: a layer with digest %q", d.Digest)
	}
	raw, err := r.get(ctx, "/blobs/"+d.Digest, nil)
	if err != nil {
		return nil, err
	}
	if err := verify(want, sum(raw)); err != nil {
		return nil, fmt.Errorf("fetch module: a layer: %w", err)
	}
	return unpacked(raw)
}
