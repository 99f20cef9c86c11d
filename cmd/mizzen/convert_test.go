package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const oldRule = `# Most stay.
apiVersion: config.istio.io/v1alpha2
kind: RouteRule
metadata: {name: reviews-default}
spec:
  destination: {name: reviews}
  route:
  - labels: {version: v1}
    weight: 75 # for now
  - labels: {version: v2}
    weight: 25
`

// TestConvert: what is printed, where warnings go, and with what it ends.
func TestConvert(t *testing.T) {
	status, out, told := cli(t, oldRule, "convert", "-f", "-")
	if status != 0 || !strings.Contains(out, "kind: VirtualService") || !strings.Contains(out, "weight: 75 # for now") || !strings.HasPrefix(out, "# Most stay.\n") {
		t.Errorf("status %d:\n%s", status, out)
	}
	if !strings.Contains(told, "Warning [IST0002] (RouteRule default/reviews-default) stdin:2:1: RouteRule is no longer in Istio: read as DestinationRule default/reviews and VirtualService default/reviews") {
		t.Errorf("stderr:\n%s", told)
	}
	if status, again, told := cli(t, out, "convert", "-f", "-"); status != 0 || again != out || told != "" {
		t.Errorf("once more: status %d, stderr %q:\n%s", status, told, again)
	}

	_, out, _ = cli(t, oldRule, "convert", "-o", "json", "-f", "-")
	var list struct {
		Kind  string
		Items []struct{ Kind string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || list.Kind != "List" || len(list.Items) != 2 {
		t.Errorf("JSON: %v\n%s", err, out)
	}

	refused := strings.Replace(oldRule, "  route:", "  match: {tcp: {sourceSubnet: [10.0.0.0/8]}}\n  route:", 1)
	if status, out, told := cli(t, refused, "convert", "-f", "-"); status != exitFindings || !strings.Contains(told, "Error [MZ0005]") || !strings.Contains(out, "is left out") {
		t.Errorf("what cannot be converted: status %d, stderr %q:\n%s", status, told, out)
	}
	if status, _, _ := cli(t, "", "convert"); status != exitUsage {
		t.Errorf("without a path it ends with %d", status)
	}
}

// TestConvertManyFiles: rules of one service in several files are one VirtualService, and a file that needs no change is printed as it is.
func TestConvertManyFiles(t *testing.T) {
	dir := t.TempDir()
	today := "apiVersion:   v1\nkind: Namespace   # as it is\nmetadata: {name: x}\n"
	second := strings.Replace(strings.Replace(oldRule, "reviews-default", "reviews-jason", 1), "  route:", "  precedence: 1\n  route:", 1)
	for name, text := range map[string]string{"a.yaml": oldRule, "b.yaml": today, "c/d.yaml": second} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	status, out, _ := cli(t, "", "convert", "-f", dir)
	if status != 0 || strings.Count(out, "kind: VirtualService") != 1 || !strings.Contains(out, "---\n"+today) {
		t.Errorf("status %d:\n%s", status, out)
	}
	if first, last := strings.Index(out, "reviews-jason"), strings.Index(out, "reviews-default"); first < 0 || first > last {
		t.Errorf("the higher precedence should come first:\n%s", out)
	}
}
