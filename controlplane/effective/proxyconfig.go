package effective

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1beta1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/internal/protoerr"
)

// Annotation of a pod holds a ProxyConfig of its own, as YAML: MeshConfig's defaultConfig for this one proxy.
const Annotation = "proxy.istio.io/config"

// Resource is one object of kind ProxyConfig (networking.istio.io/v1beta1).
type Resource struct {
	Namespace, Name string
	Created         time.Time // zero: unknown, the oldest
	Spec            *networking.ProxyConfig
}

// Pod is what a pod's settings depend on.
type Pod struct {
	Namespace           string
	Labels, Annotations map[string]string
}

// ProxyConfig merges what is said of one pod's proxy. What stands later wins, field by field:
//
//  1. defaultConfig of the MeshConfig;
//  2. the ProxyConfig of the root namespace without a selector;
//  3. the ProxyConfig of the pod's namespace without a selector;
//  4. the pod's Annotation;
//  5. the ProxyConfig of the pod's namespace whose selector picks it.
//
// Of several of one rank the oldest counts, then the first by name, as in Istio. Messages and maps are merged by field and key;
// numbers, texts, lists and the wrapped values (BoolValue: false is said, too) are replaced. The result is never nil, and nobody
// else's. An Annotation that cannot be read is an error; what is returned then lacks it.
func ProxyConfig(defaults *meshconfig.ProxyConfig, root string, all []Resource, pod Pod) (*meshconfig.ProxyConfig, error) {
	out := &meshconfig.ProxyConfig{}
	overlay(out, defaults)
	overlay(out, pick(all, func(r Resource) bool { return r.Namespace == root && whole(r) }))
	if pod.Namespace != root {
		overlay(out, pick(all, func(r Resource) bool { return r.Namespace == pod.Namespace && whole(r) }))
	}
	own, err := Annotated(pod.Annotations)
	overlay(out, own)
	overlay(out, pick(all, func(r Resource) bool {
		return r.Namespace == pod.Namespace && !whole(r) && selects(r.Spec.GetSelector().GetMatchLabels(), pod.Labels)
	}))
	return out, err
}

// Annotated reads a pod's Annotation; nil if it has none. Unknown fields are errors.
func Annotated(annotations map[string]string) (*meshconfig.ProxyConfig, error) {
	text := annotations[Annotation]
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read annotation %s: %w", Annotation, err)
	}
	out := &meshconfig.ProxyConfig{}
	if err := protojson.Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read annotation %s: %s", Annotation, protoerr.Plain(err))
	}
	return out, nil
}

// whole tells whether a resource is for all pods of its namespace.
func whole(r Resource) bool { return len(r.Spec.GetSelector().GetMatchLabels()) == 0 }

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// pick is the first that fits, in the words of MeshConfig; nil if none does.
func pick(all []Resource, fits func(Resource) bool) *meshconfig.ProxyConfig {
	var best *Resource
	for i, r := range all {
		if fits(r) && (best == nil || cmp.Or(r.Created.Compare(best.Created), cmp.Compare(r.Name, best.Name)) < 0) {
			best = &all[i]
		}
	}
	if best == nil {
		return nil
	}
	return &meshconfig.ProxyConfig{
		Concurrency: best.Spec.GetConcurrency(), ProxyMetadata: best.Spec.GetEnvironmentVariables(), Image: best.Spec.GetImage(),
	}
}

// overlay lays over on into, which it changes. over is left as it is, and shares nothing with into afterwards.
func overlay(into, over *meshconfig.ProxyConfig) {
	if over != nil {
		merge(into.ProtoReflect(), proto.Clone(over).ProtoReflect())
	}
}

func merge(into, over protoreflect.Message) {
	over.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			m := into.Mutable(fd).Map()
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool { m.Set(k, v); return true })
		case fd.IsList() || fd.Message() == nil || leaf(fd.Message()) || !into.Has(fd):
			into.Set(fd, v)
		default:
			merge(into.Mutable(fd).Message(), v.Message())
		}
		return true
	})
}

// leaf tells whether a message is one value: a duration, or a wrapped number.
func leaf(d protoreflect.MessageDescriptor) bool {
	return strings.HasPrefix(string(d.FullName()), "google.protobuf.")
}

// Metadata are the entries of a proxy's metadata that its settings ask for: variables ISTIO_META_NAME under NAME, as Istio's agent has
// them. Env are all of them, NAME=value, sorted: the environment of the proxy.
func Metadata(c *meshconfig.ProxyConfig) (metadata map[string]string, env []string) {
	for name, value := range c.GetProxyMetadata() {
		env = append(env, name+"="+value)
		if key, ok := strings.CutPrefix(name, "ISTIO_META_"); ok && key != "" {
			if metadata == nil {
				metadata = map[string]string{}
			}
			metadata[key] = value
		}
	}
	slices.Sort(env)
	return metadata, env
}
