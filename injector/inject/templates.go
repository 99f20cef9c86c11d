package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	meshconfig "istio.io/api/mesh/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"
)

// templates of an installation's own, by name.
type templates map[string]*template.Template

func (t templates) names() []string { return slices.Collect(maps.Keys(t)) }

// data is what a template sees, under Istio's names.
type data struct {
	TypeMeta       metav1.TypeMeta // of the workload
	DeploymentMeta struct{ Name, Namespace string }
	ObjectMeta     metav1.ObjectMeta
	Spec           corev1.PodSpec
	ProxyConfig    *meshconfig.ProxyConfig
	MeshConfig     *meshconfig.MeshConfig
	Values         map[string]any
	Revision       string
	NativeSidecars bool
	ProxyImage     string
	ProxyInitImage string
	ProxyUID       int64
	ProxyGID       int64
}

// parseTemplates reads templates with the functions of Istio's that templates of users call, besides sprig's.
func parseTemplates(texts map[string]string) (templates, error) {
	out := templates{}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		t, err := template.New(name).Funcs(functions()).Parse(texts[name])
		if err != nil {
			return nil, fmt.Errorf("read injection template %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

func functions() template.FuncMap {
	f := sprig.HermeticTxtFuncMap() // without the clock, the network and the environment of the injector
	maps.Copy(f, template.FuncMap{
		"isset": func(m map[string]string, key string) bool { _, ok := m[key]; return ok },
		"annotation": func(m metav1.ObjectMeta, name string, otherwise any) string {
			if v, ok := m.Annotations[name]; ok {
				return v
			}
			return fmt.Sprint(otherwise)
		},
		"valueOrDefault": func(v, otherwise any) any {
			if v == nil || v == "" {
				return otherwise
			}
			return v
		},
		"toYaml": func(v any) (string, error) {
			raw, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(raw), "\n"), err
		},
		"toJSON":       func(v any) (string, error) { raw, err := json.Marshal(v); return string(raw), err },
		"structToJSON": func(v any) (string, error) { raw, err := json.Marshal(v); return string(raw), err },
		"fromJSON":     func(s string) (any, error) { var v any; err := json.Unmarshal([]byte(s), &v); return v, err },
		"protoToJSON":  proxyJSON,
		"contains":     func(part, whole string) bool { return strings.Contains(whole, part) },
		"toLower":      strings.ToLower,
	})
	return f
}

// custom lays one of the installation's templates on the pod, as a strategic merge patch.
func (b *build) custom(name string, t *template.Template) error {
	wrong := func(err error) error { return fmt.Errorf("run injection template %s: %w", name, err) }
	in := b.asked.Pod.DeepCopy()
	d := data{
		ObjectMeta: in.ObjectMeta, Spec: in.Spec, ProxyConfig: b.proxy, MeshConfig: b.policy.Mesh, Values: b.policy.values,
		Revision: b.policy.Values.Revision, NativeSidecars: b.native, ProxyImage: b.image("proxy"), ProxyInitImage: b.image("proxy_init"),
		ProxyUID: proxyUser, ProxyGID: proxyUser, TypeMeta: metav1.TypeMeta{APIVersion: b.owner.APIVersion, Kind: b.owner.Kind},
	}
	d.DeploymentMeta.Name, d.DeploymentMeta.Namespace = b.owner.Name, b.pod.Namespace
	var text strings.Builder
	if err := t.Execute(&text, d); err != nil {
		return wrong(err)
	}
	patch, err := yaml.YAMLToJSON([]byte(text.String()))
	if err != nil {
		return wrong(err)
	}
	if string(patch) == "null" {
		return nil
	}
	var names corev1.Pod
	if err := json.Unmarshal(patch, &names); err != nil {
		return wrong(err)
	}
	before, err := json.Marshal(b.pod)
	if err != nil {
		return wrong(err)
	}
	after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Pod{})
	if err != nil {
		return wrong(err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(after, &pod); err != nil {
		return wrong(err)
	}
	b.record(names.Spec)
	b.pod = &pod
	return nil
}

// record notes what a template names: it is the injector's, and a container of the user's of that name comes back over it.
func (b *build) record(spec corev1.PodSpec) {
	note := func(into *[]string, name string) {
		if !slices.Contains(*into, name) {
			*into = append(*into, name)
		}
	}
	own := func(name string, before []corev1.Container) {
		c := find(before, name)
		if c != nil && find(b.own, name) == nil {
			b.own = append(b.own, *c)
		}
	}
	for _, c := range spec.Containers {
		note(&b.made.Containers, c.Name)
		own(c.Name, b.asked.Pod.Spec.Containers)
	}
	for _, c := range spec.InitContainers {
		note(&b.made.InitContainers, c.Name)
		own(c.Name, b.asked.Pod.Spec.InitContainers)
	}
	for _, v := range spec.Volumes {
		note(&b.made.Volumes, v.Name)
	}
}
