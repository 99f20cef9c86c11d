package istio

import (
	"fmt"
	"slices"
	"strings"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// podTemplates are where objects keep the annotations of the pods that they make.
func podTemplates() [][]string {
	return [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}}
}

// allAnnotations checks those of the object and of its pod template.
func (o *object) allAnnotations(mine *node) {
	o.annotations(mine, "metadata.annotations", o.kind.Name)
	if istioGroup(o.kind.Group) {
		return
	}
	for _, at := range podTemplates() {
		o.annotations(o.root.get(append(at, "metadata", "annotations")...), strings.Join(at, ".")+".metadata.annotations", "PodTemplate")
	}
}

// annotations tells of those in Istio's domain and in Mizzen's that do nothing: unknown, in the wrong place, or with another value
// than their form allows. Nothing else would notice.
func (o *object) annotations(n *node, path, kind string) {
	if n == nil || n.kind != mapNode {
		return
	}
	for _, f := range n.fields {
		if !annotation.Ours(f.key) && f.key != "kubernetes.io/ingress.class" {
			continue
		}
		at := join(path, f.key)
		a, ok := annotation.Find(f.key)
		switch {
		case !ok:
			o.unknownAnnotation(f, at)
		case !a.On(kind):
			o.add(CodeMisplaced, Warning, f.pos, at, f.key+" has no effect on kind "+o.kind.Name, o.rightPlace(a))
		case f.value.kind == stringNode:
			if why := a.Value.Check(f.value.text); why != "" {
				o.add(CodeBadNote, Warning, f.pos, at, why, "")
			} else if a.Value.Kind == annotation.ProxyConfig {
				o.proxyConfig(f, at)
			}
		}
	}
}

func (o *object) unknownAnnotation(f field, path string) {
	domain, _, _ := strings.Cut(f.key, "/")
	code, whose := CodeUnknownNote, "Istio"
	if domain == mizzenGroup {
		code, whose = CodeAnnotation, "Mizzen"
	}
	var names []string
	for _, a := range annotation.All() {
		names = append(names, a.Name)
	}
	fix := "take it away"
	if near := nearest.Of(f.key, names); near != "" {
		fix = "did you mean " + near + "?"
	}
	o.add(code, Warning, f.pos, path, fmt.Sprintf("%s has no annotation %q", whose, f.key), fix)
}

// rightPlace says where an annotation belongs, of an object that has it elsewhere.
func (o *object) rightPlace(a annotation.Annotation) string {
	if slices.Equal(a.Kinds, []string{"Pod"}) {
		for _, at := range podTemplates() {
			if o.root.get(at...) != nil && !istioGroup(o.kind.Group) {
				return "move it to " + strings.Join(at, ".") + ".metadata.annotations"
			}
		}
	}
	return "it belongs on kind " + strings.Join(a.Kinds, ", ")
}

// proxyConfig reads the YAML in an annotation against its schema.
func (o *object) proxyConfig(f field, path string) {
	doc := document{text: f.value.text, line: f.value.pos.Line - 1}
	root, diags := doc.parse(o.meta.Position.File)
	if root != nil && worst(diags) < Error {
		c := &checker{ref: o.meta.Ref, unknown: Warning}
		c.message((&meshconfig.ProxyConfig{}).ProtoReflect().Descriptor(), root, path)
		diags = c.diags
	}
	for _, d := range diags {
		within := strings.TrimPrefix(strings.TrimPrefix(d.Path, path), ".")
		if within != "" {
			within += ": "
		}
		o.add(CodeBadNote, Warning, f.pos, path, within+d.Message, d.Fix)
	}
}
