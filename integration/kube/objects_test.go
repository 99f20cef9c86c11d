package kube

import (
	"context"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

// define makes a CustomResourceDefinition, without a schema, and waits until the API server serves it.
func define(t *testing.T, client dynamic.Interface, k istio.Kind, versions ...string) {
	t.Helper()
	yes := true
	crd := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: k.Plural + "." + k.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: k.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Kind: k.Name, Plural: k.Plural, Singular: strings.ToLower(k.Name)},
		},
	}
	for i, v := range versions {
		crd.Spec.Versions = append(crd.Spec.Versions, apiextensionsv1.CustomResourceDefinitionVersion{
			Name: v, Served: true, Storage: i == 0,
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &yes}},
		})
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := definitions.Create(t.Context(), &unstructured.Unstructured{Object: object}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	await(t, k.Name+" is served", func() bool {
		_, err := client.Resource(gvrOf(k, versions[0])).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil
	})
}

func gvrOf(k istio.Kind, version string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.Group, Version: version, Resource: k.Plural}
}

func dynamicClient(t *testing.T, c *kubetest.Cluster) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(c.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// parse reads one object's YAML.
func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err == nil {
		err = object.UnmarshalJSON(raw)
	}
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// resource finds the client of an object's kind and namespace.
func resource(t testing.TB, client dynamic.Interface, o *unstructured.Unstructured) dynamic.ResourceInterface {
	gv, err := schema.ParseGroupVersion(o.GetAPIVersion())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range istio.Known() {
		if k.Name == o.GetKind() && k.Group == gv.Group {
			r := client.Resource(gvrOf(k, gv.Version))
			if k.Namespaced {
				return r.Namespace(o.GetNamespace())
			}
			return r
		}
	}
	t.Fatalf("no kind %s in %s", o.GetKind(), o.GetAPIVersion())
	return nil
}

// write creates an object, or brings it to what is wanted; its status, too, if it says one.
func write(ctx context.Context, t *testing.T, client dynamic.Interface, o *unstructured.Unstructured) {
	t.Helper()
	r := resource(t, client, o)
	is, err := r.Get(ctx, o.GetName(), metav1.GetOptions{})
	if err != nil {
		is, err = r.Create(ctx, o, metav1.CreateOptions{})
	} else if o.GetKind() != "Pod" { // whose spec stays
		o.SetResourceVersion(is.GetResourceVersion())
		is, err = r.Update(ctx, o, metav1.UpdateOptions{})
	}
	if err == nil && o.GetKind() == "Pod" {
		is.Object["status"] = o.Object["status"]
		_, err = r.UpdateStatus(ctx, is, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Error(err)
	}
}

// apply writes every document of a text.
func apply(t *testing.T, client dynamic.Interface, text string) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		write(t.Context(), t, client, parse(t, doc))
	}
}
