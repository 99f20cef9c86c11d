package inject

import (
	"strings"
)

// image is the whole name of one of the images: "proxy", "proxy_init" or "module". A name with "/" is taken as it stands; others are
// under the hub, with the tag.
func (b *build) image(which string) string {
	g := b.policy.Values.Global
	name, kind := g.Proxy.Image, g.Variant
	switch which {
	case "proxy_init":
		name = g.ProxyInit.Image
	case "module":
		name, kind = b.policy.Values.Mizzen.Module.Image, ""
	case "proxy":
		if k := b.proxy.GetImage().GetImageType(); k != "" {
			kind = k
		}
	}
	if which != "module" {
		name = b.annotation("sidecar.istio.io/proxyImage", name)
		kind = b.annotation("sidecar.istio.io/proxyImageType", kind)
	}
	if strings.Contains(name, "/") {
		return name
	}
	return g.Hub + "/" + name + ":" + variant(string(g.Tag), kind)
}

// variant is a tag with Istio's suffix for a kind of image in place of the one that it may have.
func variant(tag, kind string) string {
	if kind == "" {
		return tag
	}
	tag = strings.TrimSuffix(strings.TrimSuffix(tag, "-distroless"), "-debug")
	if kind == "default" {
		return tag
	}
	return tag + "-" + kind
}
