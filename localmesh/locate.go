package localmesh

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// envoyVersion is the release that this version of Mizzen is tested with.
const envoyVersion = "1.39.3"

// FindEnvoy looks for an Envoy: explicit (--envoy), ENVOY_BIN, .cache/envoy/<version>/envoy under the working directory or
// the repository of the executable, PATH.
func FindEnvoy(explicit, executable string, getenv func(string) string) (string, error) {
	for _, named := range []struct{ by, path string }{{"--envoy", explicit}, {"ENVOY_BIN", getenv("ENVOY_BIN")}} {
		if named.path == "" {
			continue
		}
		if !isProgram(named.path) {
			return "", fmt.Errorf("find envoy: %s names %s, which is not a program", named.by, named.path)
		}
		return filepath.Abs(named.path)
	}
	cached := filepath.Join(".cache", "envoy", envoyVersion, "envoy")
	for _, dir := range roots(executable) {
		if p := filepath.Join(dir, cached); isProgram(p) {
			return filepath.Abs(p)
		}
	}
	if p, err := exec.LookPath("envoy"); err == nil {
		return filepath.Abs(p)
	}
	return "", fmt.Errorf("find envoy: none in ENVOY_BIN, %s or PATH; run `make envoy` in the repository, or name one with --envoy FILE", cached)
}

// FindModule looks for the dynamic module that holds the Go policies: MIZZEN_MODULE, build/ beside the executable's
// folder, ./build. "" if there is none: proxies then run without the Go policies.
func FindModule(executable string, getenv func(string) string) string {
	var candidates []string
	for _, dir := range roots(executable) {
		candidates = append(candidates, filepath.Join(dir, "build", "libmizzen.so"))
	}
	candidates = append(candidates, filepath.Join(filepath.Dir(executable), "libmizzen.so"))
	if named := getenv("MIZZEN_MODULE"); named != "" {
		candidates = []string{named} // nothing else will do
	}
	for _, c := range candidates {
		if fi, err := os.Stat(c); err == nil && fi.Mode().IsRegular() {
			if abs, err := filepath.Abs(c); err == nil {
				return abs
			}
		}
	}
	return ""
}

// FindWasm looks for mizzen.wasm, which holds the Go policies for proxies that run wasm: MIZZEN_WASM, build/ beside the
// executable's folder, ./build.
func FindWasm(executable string, getenv func(string) string) (string, error) {
	named := getenv("MIZZEN_WASM")
	candidates := []string{named}
	if named == "" {
		candidates = nil
		for _, dir := range roots(executable) {
			candidates = append(candidates, filepath.Join(dir, "build", "mizzen.wasm"))
		}
		candidates = append(candidates, filepath.Join(filepath.Dir(executable), "mizzen.wasm"))
	}
	for _, c := range candidates {
		if fi, err := os.Stat(c); err == nil && fi.Mode().IsRegular() {
			return filepath.Abs(c)
		}
	}
	if named != "" {
		return "", fmt.Errorf("find mizzen.wasm: MIZZEN_WASM names %s, which is no file", named)
	}
	return "", fmt.Errorf("find mizzen.wasm: none in MIZZEN_WASM or build/; run `make wasm` in the repository")
}

// roots are the working directory and the executable's repository (it is in its bin/).
func roots(executable string) []string {
	out := []string{"."}
	if executable != "" {
		if real, err := filepath.EvalSymlinks(executable); err == nil {
			executable = real
		}
		out = append(out, filepath.Dir(filepath.Dir(executable)))
	}
	return out
}

func isProgram(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && (runtime.GOOS == "windows" || fi.Mode()&0o111 != 0)
}
