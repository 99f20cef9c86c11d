package xdsgen

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// metadataNamespace is where Istio keeps its own.
const metadataNamespace = "istio"

// collections maps a kind to its name in an API path.
func collection(kind string) string {
	switch kind {
	case "VirtualService":
		return "virtual-service"
	case "DestinationRule":
		return "destination-rule"
	}
	return ""
}

// configPath is the path by which istioctl and Kiali find the object: /apis/networking.istio.io/v1/namespaces/NS/KIND/NAME.
func configPath(o mesh.Origin) string {
	return "/apis/networking.istio.io/v1/namespaces/" + o.Namespace + "/" + collection(o.Kind) + "/" + o.Name
}

// istioMetadata names the object that a route came from; nil if it came from none that Istio would name.
func istioMetadata(o mesh.Origin) *corev3.Metadata {
	if collection(o.Kind) == "" || o.Name == "" {
		return nil
	}
	return metadata(map[string]any{"config": configPath(o)})
}

// metadata packs fields (strings, numbers, lists, maps of them) under Istio's namespace; nil if there are none.
func metadata(fields map[string]any) *corev3.Metadata {
	if len(fields) == 0 {
		return nil
	}
	s, err := structpb.NewStruct(fields)
	if err != nil {
		return nil // a name that is not UTF-8: nothing a tool could look up
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{metadataNamespace: s}}
}
