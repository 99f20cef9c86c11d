// Package envoytest runs a real Envoy in tests: it finds the binary, builds the dynamic module, starts Envoy with a
// static configuration on free loopback ports, and talks to it. Without an Envoy it skips the test and says why; with
// MIZZEN_REQUIRE=1 in the environment it fails instead.
package envoytest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Supported are the Envoy releases that Mizzen is tested with.
var supported = regexp.MustCompile(`/(1\.(?:39|40)\.\d+)/`)

// Binary returns the path of the Envoy to use: ENVOY_BIN, else the one that scripts/envoy installed, else envoy on
// PATH. The first that exists must be of a supported version.
func Binary() (string, error) {
	path, err := find()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w: %s", path, err, out)
	}
	if !supported.Match(out) {
		return "", fmt.Errorf("%s is no Envoy 1.39 or 1.40: %s", path, out)
	}
	return path, nil
}

func find() (string, error) {
	if path := os.Getenv("ENVOY_BIN"); path != "" {
		return path, nil
	}
	installed, err := filepath.Glob(filepath.Join(Root(), ".cache", "envoy", "*", "envoy"))
	if err == nil && len(installed) > 0 {
		slices.Sort(installed)
		return installed[0], nil
	}
	path, err := exec.LookPath("envoy")
	if err != nil {
		return "", errors.New("no Envoy: set ENVOY_BIN, or run scripts/envoy install")
	}
	return path, nil
}

// found remembers Binary's answer for the process.
var found = sync.OnceValues(Binary)

// Find returns the path of the Envoy to use, or skips the test (fails it, with MIZZEN_REQUIRE=1).
func Find(t testing.TB) string {
	t.Helper()
	path, err := found()
	if err != nil {
		Missing(t, err)
	}
	return path
}

// Missing ends a test that lacks a part it needs: it is skipped with the reason, or fails with MIZZEN_REQUIRE=1.
func Missing(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("MIZZEN_REQUIRE") == "1" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// Root is the directory of the project's go.mod, above the working directory.
func Root() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(fmt.Errorf("find the project's root: %w", err))
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			panic("find the project's root: no go.mod above the working directory")
		}
		dir = up
	}
}

// Module returns the path of libmizzen.so, built if it is missing or older than its sources.
// MIZZEN_MODULE names a ready-made one.
func Module(t testing.TB) string {
	t.Helper()
	if so := os.Getenv("MIZZEN_MODULE"); so != "" {
		return so
	}
	return BuildModule(t, "filters/cmd/mizzen", "mizzen")
}

// BuildModule builds the c-shared main in the folder pkg, relative to the root, into build/lib<name>.so, unless that
// is newer than every source, and returns its path. Test processes take turns.
func BuildModule(t testing.TB, pkg, name string) string {
	t.Helper()
	so, err := Build(pkg, name)
	if err != nil {
		t.Fatal(err)
	}
	return so
}

// Build is BuildModule outside of a test.
func Build(pkg, name string) (string, error) {
	root := Root()
	dir := filepath.Join(root, "build")
	if err := build(root, dir, pkg, name); err != nil {
		return "", fmt.Errorf("build lib%s.so: %w", name, err)
	}
	return filepath.Join(dir, "lib"+name+".so"), nil
}

func build(root, dir, pkg, name string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	so := filepath.Join(dir, "lib"+name+".so")
	stale, err := outdated(so, filepath.Join(root, "go.mod"), filepath.Join(root, "filters"), filepath.Join(root, pkg))
	if err != nil || !stale {
		return err
	}
	// A temporary name, then a rename: an Envoy that has the old file mapped keeps it.
	tmp := filepath.Join(dir, ".lib"+name+".so")
	cmd := exec.Command("go", "build", "-trimpath", "-buildmode=c-shared",
		"-ldflags=-s -w -X=runtime.godebugDefault=cgocheck=0", "-o", tmp, "./"+pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return os.Rename(tmp, so)
}

// outdated tells whether target is missing or older than a source (Go, C) or go.mod at or below sources.
func outdated(target string, sources ...string) (bool, error) {
	made, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	stale := false
	for _, source := range sources {
		err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !slices.Contains([]string{".go", ".c", ".h", ".mod"}, filepath.Ext(path)) {
				return err
			}
			if test, _ := filepath.Match("*_test.go", d.Name()); test {
				return nil
			}
			info, err := d.Info()
			if err == nil && info.ModTime().After(made.ModTime()) {
				stale = true
			}
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return stale, nil
}
