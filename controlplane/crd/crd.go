// Package crd makes the CustomResourceDefinitions of Istio's kinds and Mizzen's own from the protobuf messages that
// the control plane reads, so that what `mizzen validate` takes is what an API server takes.
//
// The schemas say which fields there are and of which type, and no more. An API server asks its schema before it asks a
// webhook: an enum, a required field or a oneOf in the schema would be refused in the API server's words, and never reach
// the webhook (controlplane/admission), which says what to write instead.
package crd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// LabelPartOf marks, with the value "mizzen", what is installed with Mizzen.
const LabelPartOf = "app.kubernetes.io/part-of"

// Definition is one of them.
type Definition = apiextensionsv1.CustomResourceDefinition

// Kinds are those that have a definition, in the order of istio.Known.
func Kinds() []istio.Kind {
	var out []istio.Kind
	for _, k := range istio.Known() {
		if _, root := istio.Descriptor(k.Name); root == "spec" || k.Name == rateLimit {
			out = append(out, k)
		}
	}
	return out
}

const rateLimit = "RateLimit"

// All makes the definitions of Kinds.
func All() ([]*Definition, error) {
	var out []*Definition
	for _, k := range Kinds() {
		d, err := definition(k)
		if err != nil {
			return nil, fmt.Errorf("define %s: %w", k.Name, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func definition(k istio.Kind) (*Definition, error) {
	spec, columns, err := specOf(k)
	if err != nil {
		return nil, err
	}
	root := apiextensionsv1.JSONSchemaProps{
		Description: describe(k.Name),
		Type:        "object",
		Properties:  map[string]apiextensionsv1.JSONSchemaProps{"spec": spec, "status": status()},
	}
	d := &Definition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: k.Plural + "." + k.Group, Labels: map[string]string{LabelPartOf: "mizzen"}},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: k.Group,
			Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Kind: k.Name, ListKind: k.Name + "List", Plural: k.Plural, Singular: strings.ToLower(k.Name),
				ShortNames: k.Short, Categories: categories(k.Group),
			},
		},
	}
	for i, v := range k.Versions {
		d.Spec.Versions = append(d.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: v, Served: true, Storage: i == 0, // all versions are alike: none is converted
			Subresources:             &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			AdditionalPrinterColumns: columns,
			Schema:                   &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &root},
		})
	}
	return d, nil
}

// specOf is the schema of a kind's spec, and the columns that kubectl prints.
func specOf(k istio.Kind) (apiextensionsv1.JSONSchemaProps, []apiextensionsv1.CustomResourceColumnDefinition, error) {
	if k.Name == rateLimit {
		return rateLimitSpec()
	}
	desc, root := istio.Descriptor(k.Name)
	s, err := newWriter(k.Name).message(desc, root)
	return s, columnsOf(k.Name), err
}

// categories are Istio's: `kubectl get istio-io -A` lists all its kinds.
func categories(group string) []string {
	if strings.HasSuffix(group, ".istio.io") {
		return []string{"istio-io", strings.ReplaceAll(group, ".", "-")}
	}
	return []string{"mizzen"}
}

// FileName is that of a definition in a chart's crds directory.
func FileName(d *Definition) string { return d.Name + ".yaml" }

// YAML writes a definition as a file for people and kubectl: without the fields that only an API server fills.
func YAML(d *Definition) ([]byte, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("marshal %s: %w", d.Name, err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("read %s back: %w", d.Name, err)
	}
	delete(tree, "status")
	if meta, ok := tree["metadata"].(map[string]any); ok {
		delete(meta, "creationTimestamp")
	}
	text, err := yaml.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", d.Name, err)
	}
	var b bytes.Buffer
	b.WriteString("# Made by `go test ./controlplane/crd -update`. Do not edit.\n")
	b.Write(text)
	return b.Bytes(), nil
}
