package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubeInject: the command reads a file, a directory or stdin, writes a file or stdout, and tells what it left alone.
func TestKubeInject(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a}]}\n"
	file := write("pod.yaml", pod)
	write("service.yaml", "apiVersion: v1\nkind: Service # kept\nmetadata: {name: a}\n")
	values := write("values.txt", "global: {hub: registry.example, tag: 7}\n")
	run := func(stdin string, args ...string) (string, string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if status := execute(t.Context(), append([]string{"kube-inject"}, args...), strings.NewReader(stdin), &stdout, &stderr); status != 0 {
			t.Fatalf("kube-inject %v: exit %d, %s", args, status, stderr.String())
		}
		return stdout.String(), stderr.String()
	}
	once, _ := run("", "-f", file, "--valuesFile", values, "--nativeSidecars", "true")
	if !strings.Contains(once, "image: registry.example/proxy:7\n") || !strings.Contains(once, "restartPolicy: Always") {
		t.Errorf("kube-inject prints %s", once)
	}
	out := filepath.Join(dir, "out")
	if twice, told := run(once, "-f", "-", "-o", out); twice != "" || !strings.Contains(told, "Pod default/a is left alone: it is injected already") {
		t.Errorf("kube-inject of its own output prints %q, %q", twice, told)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != once {
		t.Errorf("injected twice it is another: %v", err)
	}
	if both, _ := run("apiVersion: v1\nkind: Secret # kept, too\n", "-f", filepath.Join(dir, "service.yaml"), "-f", "-"); !strings.HasSuffix(both, "---\napiVersion: v1\nkind: Secret # kept, too\n") {
		t.Errorf("kube-inject of two files prints %s", both)
	}
	if all, _ := run("", "-f", dir); !strings.Contains(all, "name: istio-proxy") || !strings.Contains(all, "---\napiVersion: v1\nkind: Service # kept\n") {
		t.Errorf("kube-inject of a directory prints %s", all)
	}
	var stderr bytes.Buffer
	if status := execute(t.Context(), []string{"kube-inject"}, strings.NewReader(""), &stderr, &stderr); status != exitUsage {
		t.Errorf("kube-inject without -f: exit %d", status)
	}
}
