package installer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manager is the name under which fields are owned in server-side apply.
const manager = "mizzen"

// established bounds how long the API server may take to serve a kind.
const established = time.Minute

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// kinds applies the CustomResourceDefinitions, and waits until the API server serves them. Objects of them stay as they are.
func (i *installer) kinds(ctx context.Context, c *chart.Chart) error {
	all, err := definitionsOf(c)
	if err != nil {
		return err
	}
	force := true
	for _, u := range all {
		raw, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("write %s: %w", u.GetName(), err)
		}
		_, err = i.dynamic.Resource(definitions).Patch(ctx, u.GetName(), types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: manager, Force: &force})
		if err != nil {
			return fmt.Errorf("apply CustomResourceDefinition %s: %w", u.GetName(), err)
		}
	}
	for _, u := range all {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, established, true, func(ctx context.Context) (bool, error) {
			got, err := i.dynamic.Resource(definitions).Get(ctx, u.GetName(), metav1.GetOptions{})
			return err == nil && isTrue(got, "Established"), err
		})
		if err != nil {
			return fmt.Errorf("wait until the API server serves %s: %w", u.GetName(), err)
		}
	}
	i.say("%d CustomResourceDefinitions applied", len(all))
	return nil
}

// definitionsOf are the chart's, parsed.
func definitionsOf(c *chart.Chart) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, crd := range c.CRDObjects() {
		d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(crd.File.Data), 4096)
		for {
			u := &unstructured.Unstructured{}
			err := d.Decode(u)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read %s of the chart: %w", crd.Filename, err)
			}
			if len(u.Object) > 0 {
				out = append(out, u)
			}
		}
	}
	return out, nil
}

// isTrue tells whether an object's status has the condition.
func isTrue(u *unstructured.Unstructured, condition string) bool {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range all {
		if m, ok := c.(map[string]any); ok && m["type"] == condition {
			return m["status"] == "True"
		}
	}
	return false
}
