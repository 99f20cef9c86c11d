package kubeinject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/injector/inject"
)

// Options say what stands around the manifests.
type Options struct {
	// Namespace of objects that name none; "": default.
	Namespace string
}

// Run reads manifests, puts the sidecar where the policy says, and writes all of them. Warnings name the object. An error is a mistake
// in a manifest; then nothing has been written.
func Run(p *inject.Policy, o Options, in io.Reader, out io.Writer) (warnings []string, err error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	r := &run{policy: p, options: o}
	var done bytes.Buffer
	for _, part := range split(text) {
		if err := r.document(part, &done); err != nil {
			return r.warnings, err
		}
	}
	if _, err := out.Write(done.Bytes()); err != nil {
		return r.warnings, fmt.Errorf("write manifests: %w", err)
	}
	return r.warnings, nil
}

// part is a document or what separates two.
type part struct {
	text      []byte
	separator bool
	line      int // of its first line, from 1
}

// split takes a stream apart at the lines that begin with "---"; put together, the parts are the stream.
func split(text []byte) []part {
	var out []part
	start, startLine, line := 0, 1, 0
	end := func(at int) {
		if at > start {
			out = append(out, part{text: text[start:at], line: startLine})
		}
	}
	for at := 0; at < len(text); {
		next := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line++
		if l := bytes.TrimRight(text[at:next], " \t\r\n"); bytes.Equal(l, []byte("---")) || bytes.HasPrefix(l, []byte("--- ")) {
			end(at)
			cut := next
			if rest := bytes.TrimSpace(l[3:]); len(rest) > 0 && rest[0] != '#' {
				cut = at + 3 // a document that begins on the separator's own line
			}
			out = append(out, part{text: text[at:cut], separator: true, line: line})
			start, startLine = cut, line+1
		}
		at = next
	}
	end(len(text))
	return out
}

type run struct {
	policy   *inject.Policy
	options  Options
	warnings []string
}

// document writes one, changed or not.
func (r *run) document(p part, out *bytes.Buffer) error {
	if p.separator {
		out.Write(p.text)
		return nil
	}
	var object map[string]any
	if err := yaml.Unmarshal(p.text, &object); err != nil {
		var any any
		if yaml.Unmarshal(p.text, &any) != nil {
			return fmt.Errorf("read manifests: line %d and following: %w", p.line, err)
		}
		object = nil // a list or a text: none of ours
	}
	changed, err := r.object(object)
	if err != nil {
		return fmt.Errorf("line %d and following: %w", p.line, err)
	}
	if !changed {
		out.Write(p.text)
		return nil
	}
	if bytes.HasPrefix(bytes.TrimSpace(p.text), []byte("{")) {
		return encodeJSON(out, object)
	}
	text, err := yaml.Marshal(object)
	if err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	out.Write(text)
	return nil
}

// encodeJSON keeps a JSON document JSON.
func encodeJSON(out *bytes.Buffer, object any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(object); err != nil {
		return fmt.Errorf("write manifests: %w", err)
	}
	return nil
}

// object changes one, and tells whether it did.
func (r *run) object(o map[string]any) (bool, error) {
	kind, _ := o["kind"].(string)
	if items, ok := o["items"].([]any); ok && strings.HasSuffix(kind, "List") {
		changed := false
		for _, item := range items {
			if m, ok := item.(map[string]any); ok {
				c, err := r.object(m)
				if err != nil {
					return false, err
				}
				changed = changed || c
			}
		}
		return changed, nil
	}
	version, _ := o["apiVersion"].(string)
	at := template(o, version, kind)
	if at == nil {
		return false, nil
	}
	return r.pod(o, at, inject.Owner{APIVersion: version, Kind: kind, Name: text(o, "metadata", "name")})
}

// template is the pod, or the pod template, of a workload; nil if the object is none.
func template(o map[string]any, version, kind string) map[string]any {
	group, _, ok := strings.Cut(version, "/")
	if !ok {
		group = ""
	}
	paths := map[string][]string{
		"/Pod": {}, "/ReplicationController": {"spec", "template"},
		"apps/Deployment": {"spec", "template"}, "apps/StatefulSet": {"spec", "template"}, "apps/DaemonSet": {"spec", "template"},
		"apps/ReplicaSet": {"spec", "template"}, "batch/Job": {"spec", "template"}, "batch/CronJob": {"spec", "jobTemplate", "spec", "template"},
		"apps.openshift.io/DeploymentConfig": {"spec", "template"}, "/DeploymentConfig": {"spec", "template"},
		"argoproj.io/Rollout": {"spec", "template"},
	}
	path, ok := paths[group+"/"+kind]
	if !ok {
		return nil
	}
	for _, k := range path {
		next, ok := o[k].(map[string]any)
		if !ok {
			return nil
		}
		o = next
	}
	return o
}

// text is a string within an object, "" if there is none.
func text(o map[string]any, path ...string) string {
	for i, k := range path {
		if i == len(path)-1 {
			s, _ := o[k].(string)
			return s
		}
		o, _ = o[k].(map[string]any)
	}
	return ""
}

// pod injects one template of an object.
func (r *run) pod(object, template map[string]any, owner inject.Owner) (bool, error) {
	namespace := text(template, "metadata", "namespace")
	for _, n := range []string{text(object, "metadata", "namespace"), r.options.Namespace, "default"} {
		if namespace == "" {
			namespace = n
		}
	}
	name := fmt.Sprintf("%s %s/%s", owner.Kind, namespace, owner.Name)
	raw, err := json.Marshal(template)
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		return false, fmt.Errorf("%s: read pod: %w", name, err)
	}
	pod.Namespace = namespace
	if owner.Kind == "Pod" {
		owner = inject.Owner{}
	}
	result, err := r.policy.Inject(inject.Request{Pod: pod, Owner: owner, Chosen: true})
	if err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	for _, w := range result.Warnings {
		r.warnings = append(r.warnings, name+": "+w)
	}
	if result.Pod == nil {
		r.warnings = append(r.warnings, name+" is left alone: "+result.Why)
		return false, nil
	}
	if err := apply(template, inject.Patch(pod, result.Pod)); err != nil {
		return false, fmt.Errorf("%s: change pod: %w", name, err)
	}
	return true, nil
}
