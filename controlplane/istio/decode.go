package istio

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/internal/nearest"
)

// maxFile bounds one file, in bytes.
const maxFile = 64 << 20

// AnnotationDeleted with the value "true", makes an object hide the same object of the sets merged before it.
const AnnotationDeleted = "mizzen.dev/deleted"

// Decode reads every document of r, YAML or JSON; src names it in positions. A document or object with a mistake of
// severity Error is left out, with its diagnostics, and never spoils the others. An object that stands twice is left out
// the second time.
func Decode(src string, r io.Reader) (Set, Diagnostics) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return Set{}, Diagnostics{{Code: CodeRead, Severity: Error, Position: Position{File: src}, Message: "cannot be read: " + err.Error()}}
	}
	d := DecodeAgain(src, string(text), nil)
	return d.Set, d.Diagnostics
}

// decoder collects what one file holds.
type decoder struct {
	kinds []Kind
	lines []string // of the file
	set   Set
	diags Diagnostics
}

// object is one document on its way into the Set.
type object struct {
	kind  Kind
	meta  Meta
	root  *node // rewritten on the way: obsolete fields become today's
	diags Diagnostics
}

func (o *object) add(code string, severity Severity, pos Position, path, message, fix string) {
	o.diags = append(o.diags, Diagnostic{Code: code, Severity: severity, Object: o.meta.Ref, Position: pos, Path: path, Message: message, Fix: fix})
}

func (o *object) fail(pos Position, path, message, fix string) {
	o.add(CodeSchema, Error, pos, path, message, fix)
}

func (o *object) broken() bool { return worst(o.diags) == Error }

func worst(ds Diagnostics) Severity {
	s, _ := ds.Worst()
	return s
}

// document reads one object, or each of a List. With sound false it only names the object in the diagnostics that a
// duplicate key has already caused.
func (d *decoder) document(root *node, sound bool) {
	if root.kind != mapNode {
		d.diags = append(d.diags, Diagnostic{Code: CodeNoKind, Severity: Error, Position: root.pos, Message: "want an object with apiVersion, kind and metadata, got " + root.kind.String()})
		return
	}
	kind, version := root.get("kind").str(), root.get("apiVersion").str()
	if items := root.get("items"); strings.HasSuffix(kind, "List") && items != nil && items.kind == listNode {
		for _, item := range items.items {
			d.document(item, sound)
		}
		return
	}
	o := &object{root: root}
	o.meta = Meta{APIVersion: version, Ref: Ref{Kind: kind, Name: root.get("metadata", "name").str()}, Position: root.pos}
	d.object(o, sound)
	d.diags = append(d.diags, o.diags...)
}

func (d *decoder) object(o *object, sound bool) {
	kind, version := o.meta.Kind, o.meta.APIVersion
	if kind == "" || version == "" {
		missing := "kind"
		if kind != "" {
			missing = "apiVersion"
		}
		o.add(CodeNoKind, Error, o.meta.Position, "", "a document without "+missing, d.guess(o.root, kind))
		return
	}
	k, ok := kindOf(d.kinds, version, kind)
	if !ok {
		d.unknownKind(o, kind, version)
		return
	}
	o.kind = k
	if k.Namespaced {
		o.meta.Namespace = o.root.get("metadata", "namespace").str()
		if o.meta.Namespace == "" {
			o.meta.Namespace = "default"
		}
	}
	if !sound {
		o.add(CodeSyntax, Error, o.meta.Position, "", "left out because of a mistake in its YAML", "")
		return
	}
	o.meta.Raw = o.root.json()
	if o.metadata() {
		d.typed(o)
	}
}

// metadata checks and reads the metadata; false if there is not even a name.
func (o *object) metadata() bool {
	m := o.root.get("metadata")
	if m == nil || o.meta.Name == "" {
		o.add(CodeNoKind, Error, o.meta.Position, "metadata.name", "an object without a name", "add metadata.name")
		return false
	}
	c := &checker{ref: o.meta.Ref, unknown: Error}
	if o.kind.use == kept || !istioGroup(o.kind.Group) {
		c.unknown = Warning
	}
	if f, ok := m.take("clusterName"); ok { // gone from Kubernetes 1.24; exports of that time have it
		o.deprecated(f, "metadata", "clusterName is no longer in Kubernetes", "take it away")
	}
	c.goType(reflect.TypeOf(corev1.Pod{}.ObjectMeta), m, "metadata")
	o.diags = append(o.diags, c.diags...)
	o.meta.Labels = m.get("labels").strings()
	o.meta.Annotations = m.get("annotations").strings()
	o.allAnnotations(m.get("annotations"))
	if t := m.get("creationTimestamp").str(); t != "" {
		created, err := time.Parse(time.RFC3339, t)
		if err != nil {
			o.fail(m.get("creationTimestamp").pos, "metadata.creationTimestamp", fmt.Sprintf("%q is not an RFC 3339 time", t), "write 2026-01-31T12:00:00Z")
		}
		o.meta.CreationTimestamp = created
	}
	return true
}

func istioGroup(group string) bool {
	return group == mizzenGroup || strings.HasSuffix(group, ".istio.io")
}

func (n *node) strings() map[string]string {
	if n == nil || len(n.fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(n.fields))
	for _, f := range n.fields {
		out[f.key] = f.value.str()
	}
	return out
}

// guess names the kind whose fields a document without one seems to have.
func (d *decoder) guess(root *node, kind string) string {
	if kind != "" {
		for _, k := range d.kinds {
			if k.Name == kind && k.use != obsolete {
				return "add apiVersion: " + k.APIVersion()
			}
		}
	}
	if near := root.find("Kind"); near != nil {
		return `did you mean "kind"?`
	}
	return "every document needs apiVersion, kind and metadata.name"
}

// unknownKind says which kind, or which apiVersion of the kind, is nearest.
func (d *decoder) unknownKind(o *object, kind, version string) {
	group, _, grouped := strings.Cut(version, "/")
	var here []string // the kinds of the group, or of one that it is near
	for _, k := range d.kinds {
		if k.use == obsolete {
			continue
		}
		if k.Name == kind {
			severity := Error
			if grouped && !strings.Contains(group, "istio") && nearest.Of(group, []string{k.Group}) == "" {
				severity = Warning // somebody else's kind of the same name, a Knative Service
			}
			o.add(CodeUnknownKind, severity, o.meta.Position, "apiVersion", fmt.Sprintf("no kind %s in %s", kind, version), "Mizzen reads it as "+k.APIVersion())
			return
		}
		if !grouped || istioGroup(group) || k.Group == group || nearest.Of(group, []string{k.Group}) != "" {
			here = append(here, k.Name)
		}
	}
	fix := ""
	if near := nearest.Of(kind, here); near != "" {
		fix = "did you mean " + near + "?"
	}
	severity := Error
	if grouped && !istioGroup(group) && fix == "" {
		severity = Warning // a custom resource of another product
	}
	o.add(CodeUnknownKind, severity, o.meta.Position, "kind", fmt.Sprintf("unknown kind %s in %s", kind, version), fix)
}

// unmarshal fills a Go value from a node that has passed the check.
func (o *object) unmarshal(n *node, into any) bool {
	if err := json.Unmarshal(n.json(), into); err != nil {
		o.fail(o.meta.Position, "", "cannot be read: "+err.Error(), "")
		return false
	}
	return true
}
