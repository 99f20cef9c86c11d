package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

func service(name string, port int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: %d}]}\n", name, port)
}

const deletedA = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations: {mizzen.dev/deleted: \"true\"}\n"

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// show is "name:port ..." of the Services, then the codes of the diagnostics.
func show(set istio.Set, diags istio.Diagnostics) string {
	var out []string
	for _, s := range set.Services {
		out = append(out, fmt.Sprintf("%s:%d", s.Name, s.Spec.Spec.Ports[0].Port))
	}
	for _, d := range diags {
		out = append(out, d.Code)
	}
	return strings.Join(out, " ")
}

func TestLoad(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		paths []string
		want  string
	}{
		{"a directory, recursively", map[string]string{"d/a.yaml": service("a", 1), "d/x/b.yml": service("b", 2), "d/c.json": `{"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"ports":[{"port":3}]}}`}, []string{"d"}, "a:1 b:2 c:3"},
		{"no hidden and no other files", map[string]string{"d/a.yaml": service("a", 1), "d/.b.yaml": service("b", 2), "d/.git/c.yaml": service("c", 2), "d/readme.md": "x"}, []string{"d"}, "a:1"},
		{"a file of any extension, if named", map[string]string{"a.conf": service("a", 1)}, []string{"a.conf"}, "a:1"},
		{"a later path wins", map[string]string{"d/a.yaml": service("a", 1), "e/a.yaml": service("a", 2)}, []string{"d", "e"}, "a:2"},
		{"a later path deletes", map[string]string{"d/a.yaml": service("a", 1) + "---\n" + service("b", 1), "e/a.yaml": deletedA}, []string{"d", "e"}, "b:1"},
		{"a deletion holds for what stands before", map[string]string{"d/a.yaml": deletedA, "e/a.yaml": service("a", 1)}, []string{"d", "e"}, "a:1"},
		{"within one path the first wins", map[string]string{"d/a.yaml": service("a", 1), "d/b.yaml": service("a", 2)}, []string{"d"}, "a:1 MZ0101"},
		{"a broken file spoils no other", map[string]string{"d/a.yaml": service("a", 1), "d/b.yaml": "a: b: c"}, []string{"d"}, "a:1 MZ0001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				write(t, filepath.Join(root, name), text)
			}
			var paths []string
			for _, p := range tt.paths {
				paths = append(paths, filepath.Join(root, p))
			}
			set, diags, err := Load(paths)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(set, diags); got != tt.want {
				t.Errorf("got %q, want %q\n%v", got, tt.want, diags)
			}
		})
	}
}

func TestLoadMissingPath(t *testing.T) {
	if _, _, err := Load([]string{filepath.Join(t.TempDir(), "nothing")}); err == nil {
		t.Error("a path that is not there must be an error")
	}
}

func TestStandardInput(t *testing.T) {
	s := newState([]string{"-"}, strings.NewReader(service("a", 1)), time.Now)
	if _, err := s.scan(func(string) {}, nil, false); err != nil {
		t.Fatal(err)
	}
	set, diags := s.snapshot()
	if got := show(set, diags); got != "a:1" || set.Services[0].Position.File != "stdin" {
		t.Errorf("got %q from %q", got, set.Services[0].Position.File)
	}
}

// watched runs Watch over a directory and hands out what it reports.
type watched struct {
	t    *testing.T
	root string
	got  chan string
	last string
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, root: t.TempDir(), got: make(chan string, 100)}
	return w
}

// start begins; the paths are below root.
func (w *watched) start(paths ...string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var full []string
	for _, p := range paths {
		full = append(full, filepath.Join(w.root, p))
	}
	var logged bytes.Buffer
	go func() {
		done <- Watch(ctx, full, slog.New(slog.NewTextHandler(&logged, nil)), func(s istio.Set, d istio.Diagnostics) { w.got <- show(s, d) })
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Watch: %v", err)
		}
	})
}

// await waits until Watch reports want; reports on the way there are fine.
func (w *watched) await(want string) {
	w.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case w.last = <-w.got:
			if w.last == want {
				return
			}
		case <-timeout:
			w.t.Fatalf("want %q, the last report was %q", want, w.last)
		}
	}
}

func (w *watched) path(name string) string { return filepath.Join(w.root, name) }

func TestWatchEdits(t *testing.T) {
	w := watch(t)
	write(t, w.path("d/a.yaml"), service("a", 1))
	w.start("d")
	w.await("a:1")
	write(t, w.path("d/a.yaml"), service("a", 2))
	w.await("a:2")
	write(t, w.path("d/b.yaml"), service("b", 1))
	w.await("a:2 b:1")
	// As editors save: a hidden file, renamed over.
	write(t, w.path("d/.a.yaml.tmp"), service("a", 3))
	if err := os.Rename(w.path("d/.a.yaml.tmp"), w.path("d/a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.await("a:3 b:1")
	write(t, w.path("d/x/y/c.yaml"), service("c", 1))
	w.await("a:3 b:1 c:1")
	write(t, w.path("d/x/y/c.yaml"), service("c", 2))
	w.await("a:3 b:1 c:2")
	if err := os.RemoveAll(w.path("d/x")); err != nil {
		t.Fatal(err)
	}
	w.await("a:3 b:1")
	if err := os.Remove(w.path("d/a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.await("b:1")
}

func TestWatchKeepsTheLastGoodVersion(t *testing.T) {
	w := watch(t)
	write(t, w.path("d/a.yaml"), service("a", 1)+"---\n"+service("b", 1))
	w.start("d")
	w.await("a:1 b:1")
	// b's port is broken, a is edited: a follows, b stays.
	write(t, w.path("d/a.yaml"), service("a", 2)+"---\n"+strings.Replace(service("b", 1), "port: 1", "port: x", 1))
	w.await("a:2 b:1 IST0106 MZ0401")
	// Not YAML at all: both stay.
	write(t, w.path("d/a.yaml"), "a: b: c")
	w.await("a:2 b:1 MZ0001 MZ0401 MZ0401")
	// Mended: what is gone now goes.
	write(t, w.path("d/a.yaml"), service("b", 3))
	w.await("b:3")
	write(t, w.path("d/a.yaml"), "")
	w.await("")
}

func TestWatchOverlay(t *testing.T) {
	w := watch(t)
	write(t, w.path("d/a.yaml"), service("a", 1))
	if err := os.Mkdir(w.path("applied"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.start("d", "applied")
	w.await("a:1")
	write(t, w.path("applied/a.yaml"), service("a", 2))
	w.await("a:2")
	write(t, w.path("applied/a.yaml"), deletedA)
	w.await("")
	if err := os.Remove(w.path("applied/a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.await("a:1")
}

func TestWatchFileByName(t *testing.T) {
	w := watch(t)
	write(t, w.path("a.yaml"), service("a", 1))
	w.start("a.yaml")
	w.await("a:1")
	if err := os.Remove(w.path("a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.await("")
	write(t, w.path("b.yaml"), service("b", 1)) // a neighbour is none of our business
	write(t, w.path("a.yaml"), service("a", 2))
	w.await("a:2")
}

// TestWatchMountedConfigMap: Kubernetes swaps a link to a directory of links.
func TestWatchMountedConfigMap(t *testing.T) {
	w := watch(t)
	write(t, w.path("d/..1/a.yaml"), service("a", 1))
	write(t, w.path("d/..2/a.yaml"), service("a", 2))
	link := func(target, name string) {
		if err := os.Symlink(target, w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	link("..1", "d/..data")
	link("..data/a.yaml", "d/a.yaml")
	w.start("d")
	w.await("a:1")
	link("..2", "d/..tmp")
	if err := os.Rename(w.path("d/..tmp"), w.path("d/..data")); err != nil {
		t.Fatal(err)
	}
	w.await("a:2")
}

func TestWatchSettles(t *testing.T) {
	w := watch(t)
	write(t, w.path("d/a.yaml"), service("a", 1))
	w.start("d")
	w.await("a:1")
	for i := range 200 { // a burst is a few reports, not two hundred
		write(t, w.path("d/a.yaml"), service("a", i+2))
	}
	w.await("a:201")
	if err := os.Chtimes(w.path("d/a.yaml"), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	write(t, w.path("d/b.yaml"), service("b", 1))
	w.await("a:201 b:1")
	if n := len(w.got); n != 0 {
		t.Errorf("%d reports without a change of content", n)
	}
}

// TestUnreadable: input that cannot be read is told of, and spoils no other.
func TestUnreadable(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "a.yaml"), service("a", 1))
	s := newState([]string{root, "-"}, iotest.ErrReader(errors.New("gone")), time.Now)
	if _, err := s.scan(func(string) {}, nil, false); err != nil {
		t.Fatal(err)
	}
	if got := show(s.snapshot()); got != "a:1 "+istio.CodeRead {
		t.Errorf("got %q", got)
	}
}
