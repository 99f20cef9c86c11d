package dir

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// process is one run of a control plane over a directory, whose time goes on by an hour with each reading.
type process struct {
	t    *testing.T
	w    *watcher
	log  bytes.Buffer
	said string
	all  istio.Diagnostics
}

func startProcess(t *testing.T, root, kept string, hour *int) *process {
	t.Helper()
	p := &process{t: t}
	log := slog.New(slog.NewTextHandler(&p.log, nil))
	store, err := openStore(kept, log)
	if err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return time.Date(2026, 1, 1, *hour, 0, 0, 0, time.UTC) }
	s := newState([]string{root}, nil, now)
	s.store = store
	p.w = &watcher{state: s, log: log, fn: func(set istio.Set, ds istio.Diagnostics) { p.said, p.all = show(set, ds), ds }}
	p.look(hour)
	store.sweep(s.files)
	return p
}

// look reads what has changed and returns what is in force.
func (p *process) look(hour *int) string {
	p.t.Helper()
	*hour++
	if _, err := p.w.state.scan(func(string) {}, nil, true); err != nil {
		p.t.Fatal(err)
	}
	p.w.take()
	return p.said
}

// brokenService is one whose port is no number.
func brokenService(name string) string {
	return strings.Replace(service(name, 1), "port: 1", "port: x", 1)
}

// TestKeptOverRestarts: each step edits files, lets the running process see them or not, and starts a new one.
func TestKeptOverRestarts(t *testing.T) {
	root, kept, hour := t.TempDir(), filepath.Join(t.TempDir(), "state", "kept"), 0
	file, other := filepath.Join(root, "a.yaml"), filepath.Join(root, "b.yaml")
	put := func(path string, parts ...string) { write(t, path, strings.Join(parts, "---\n")) }
	put(file, service("a", 1), service("b", 1))
	put(other, service("c", 1))
	p := startProcess(t, root, kept, &hour)
	check := func(step, want string) {
		t.Helper()
		if got := p.look(&hour); got != want {
			t.Errorf("%s: %q, want %q\n%s", step, got, want, p.log.String())
		}
		p = startProcess(t, root, kept, &hour)
		if p.said != want {
			t.Errorf("%s, after a restart: %q, want %q\n%s", step, p.said, want, p.log.String())
		}
	}
	check("good", "a:1 b:1 c:1")
	put(file, service("a", 1), brokenService("b"))
	p = startProcess(t, root, kept, &hour)
	if want := "a:1 b:1 c:1 IST0106 MZ0401"; p.said != want {
		t.Errorf("broken while nobody looked: %q, want %q", p.said, want)
	}
	put(file, service("a", 2), brokenService("b"))
	check("a goes on", "a:2 b:1 c:1 IST0106 MZ0401")
	put(file, "a: b: c")
	check("no YAML at all", "a:2 b:1 c:1 MZ0001 MZ0401 MZ0401")
	for _, d := range p.all {
		if d.Code == istio.CodeKept && !strings.Contains(d.Message, map[string]string{"a": "T06:00", "b": "T01:00"}[d.Object.Name]) {
			t.Errorf("of %s, hour %d: %s", d.Object.Name, hour, d.Message)
		}
	}
	put(file, brokenService("a"), service("b", 3))
	check("b mended", "a:2 b:3 c:1 IST0106 MZ0401")
	put(file, service("b", 3))
	check("a deleted", "b:3 c:1")
	put(file, brokenService("a"), service("b", 3))
	check("a comes back broken", "b:3 c:1 IST0106")
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, root, kept, &hour)
	put(other, brokenService("c"))
	check("a file that was gone comes back broken", "b:3 IST0106 IST0106")
	if n := entries(t, kept); n != 2 {
		t.Errorf("%d entries for two files", n)
	}
}

func entries(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s may be read by others: %v %v", path, info.Mode(), err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKeptIsDamaged: what cannot be used is a warning, and is replaced.
func TestKeptIsDamaged(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"empty":          func([]byte) []byte { return nil },
		"cut off":        func(b []byte) []byte { return b[:len(b)-10] },
		"another byte":   func(b []byte) []byte { return bytes.Replace(b, []byte("port: 1"), []byte("port: 2"), 1) },
		"of another day": func(b []byte) []byte { return bytes.Replace(b, []byte("good-1"), []byte("good-9"), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			root, kept, hour := t.TempDir(), t.TempDir(), 0
			file := filepath.Join(root, "a.yaml")
			write(t, file, service("a", 1))
			startProcess(t, root, kept, &hour)
			all, err := filepath.Glob(filepath.Join(kept, "*.json"))
			if err != nil || len(all) != 1 {
				t.Fatal(all, err)
			}
			raw, err := os.ReadFile(all[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(all[0], spoil(raw), 0o600); err != nil {
				t.Fatal(err)
			}
			write(t, file, brokenService("a")+"---\n"+service("b", 1))
			p := startProcess(t, root, kept, &hour)
			if p.said != "b:1 IST0106" || !strings.Contains(p.log.String(), "level=WARN") {
				t.Errorf("%q, log:\n%s", p.said, p.log.String())
			}
			write(t, file, service("a", 3)+"---\n"+service("b", 1))
			p.look(&hour)
			write(t, file, brokenService("a"))
			if p = startProcess(t, root, kept, &hour); p.said != "a:3 IST0106 MZ0401" || p.log.Len() > 0 {
				t.Errorf("%q, log:\n%s", p.said, p.log.String())
			}
		})
	}
}
