package wasmtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme runs the README's two files as a user would: in a module of their own, outside of this one. It takes what
// this module has downloaded, and nothing else.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(b), "```go\n")
	if len(blocks) != 3 {
		t.Fatalf("the README has %d blocks of Go, want the filter and its test", len(blocks)-1)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, name := range []string{"filter/main.go", "filter_test.go"} {
		text, _, _ := strings.Cut(blocks[i+1], "```")
		write(t, filepath.Join(dir, name), text)
	}
	write(t, filepath.Join(dir, "go.sum"), string(sum))
	write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf(`module example.org/user

go %s

require (
	github.com/mizzen-mesh/mizzen v0.0.0
	%s
	%s // indirect
	%s // indirect
)

replace github.com/mizzen-mesh/mizzen => %s
`, list(t, root, "{{.GoVersion}}", "github.com/mizzen-mesh/mizzen"), required(t, root, "github.com/proxy-wasm/proxy-wasm-go-sdk"),
		required(t, root, "github.com/tetratelabs/wazero"), required(t, root, "golang.org/x/sys"), root))

	cmd := exec.Command("go", "test", "-count=1", "-v", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, test := range []string{"TestImports", "TestDelay", "TestRefusesNonsense"} {
		if !strings.Contains(string(out), "--- PASS: "+test) {
			t.Errorf("%s did not pass:\n%s", test, out)
		}
	}
}

func required(t *testing.T, root, module string) string {
	return list(t, root, "{{.Path}} {{.Version}}", module)
}

func list(t *testing.T, root, format, module string) string {
	t.Helper()
	cmd := exec.Command("go", "list", "-m", "-f", format, module)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
