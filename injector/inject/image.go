package inject

import (
	"cmp"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// image is the whole name of one of the images: "proxy", "proxy_init" or "module". A name with "/" is taken as it stands; others are
// under the hub, with the tag.
func (b *build) image(which string) string {
	v := b.policy.Values
	var name string
	switch which {
	case "proxy":
		name = b.proxyImage(v.Global.Proxy.Image)
	case "proxy_init":
		name = b.proxyImage(v.Global.ProxyInit.Image)
	case "module":
		name, _ = b.carried()
	}
	if strings.Contains(name, "/") {
		return name
	}
	return v.Global.Hub + "/" + name + ":" + string(v.Global.Tag)
}

// proxyImage is the pod's, else the values'.
func (b *build) proxyImage(values string) string { return b.annotation(annotationImage, values) }

// carried is the image that carries what runs the policies, and the file in it; "": the one that its command copies anyway.
func (b *build) carried() (image, file string) {
	m := b.policy.Values.Mizzen.Module
	switch b.filters {
	case mesh.HostWasm:
		return m.WasmImage, "/mizzen/mizzen.wasm"
	case mesh.HostGolang:
		return m.GolangImage, "/mizzen/libmizzen-golang.so"
	}
	return m.Image, ""
}

// imageDoubts are about images that are not what was asked for.
func (b *build) imageDoubts() {
	g := b.policy.Values.Global
	name, image := b.proxyImage(g.Proxy.Image), b.image("proxy")
	// Istio builds each image in several kinds. Of Mizzen's there is one, and a pod that waits for another would never start.
	kind := b.annotation("sidecar.istio.io/proxyImageType", cmp.Or(b.proxy.GetImage().GetImageType(), g.Variant))
	if kind != "" && kind != "default" && image != name {
		b.warn("Mizzen's proxy image is of one kind, not %s: the proxy has %s; another image is named by annotation %s", kind, image, annotationImage)
	}
	if b.filters == mesh.HostGolang && name == proxyImage {
		b.warn("%s: golang wants a contrib Envoy, which %s has not: Envoy's own filters run the policies; build target proxy with ENVOY_IMAGE=envoyproxy/envoy:contrib-v1.39.3, and name it by annotation %s", annotationFilters, image, annotationImage)
	}
}
