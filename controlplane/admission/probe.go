package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// probeName is the name of the object that Probe asks about. It is never stored.
const probeName = "mizzen-validation-probe"

// Probe asks the API server, in a dry run, to make an object in a namespace that Review refuses. Nil: it was refused, by the webhook. As
// Istio does, with a Gateway without servers. It is labelled for the revision, if that has a name: others' objects pass its webhook by.
func Probe(client dynamic.Interface, namespace, revision string) func(context.Context) error {
	gateways := schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1", Resource: "gateways"}
	return func(ctx context.Context) error {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": map[string]any{"name": probeName}, "spec": map[string]any{},
		}}
		if revision != "" && revision != "default" {
			u.SetLabels(map[string]string{"istio.io/rev": revision})
		}
		_, err := client.Resource(gateways).Namespace(namespace).Create(ctx, u, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case err == nil:
			return errors.New("the API server took an object that is wrong")
		case strings.Contains(err.Error(), "denied the request") && strings.Contains(err.Error(), probeName):
			return nil
		}
		return fmt.Errorf("ask the API server about an object that is wrong: %w", err)
	}
}
