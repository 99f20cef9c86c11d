package inject

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"
)

// ParseMesh reads a MeshConfig, key "mesh" of ConfigMap istio. Fields that it does not know are ignored, as in Istio: the text is shared
// with other products and outlives releases.
func ParseMesh(text []byte) (*meshconfig.MeshConfig, error) {
	out := &meshconfig.MeshConfig{}
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("read MeshConfig: %w", err)
	}
	if string(raw) == "null" {
		return out, nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read MeshConfig: %s", strings.ReplaceAll(err.Error(), "\u00a0", " "))
	}
	return out, nil
}
