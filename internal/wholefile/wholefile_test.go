package wholefile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// Whoever looks finds the whole of the old file or of the new one, with the mode that was asked for, and nothing beside it.
func TestWrite(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(name, content string) error
		mode  fs.FileMode
	}{
		{"Write", func(n, s string) error { return wholefile.Write(n, 0o755, strings.NewReader(s)) }, 0o755},
		{"Content", func(n, s string) error { return wholefile.Content(n, 0o644, []byte(s)) }, 0o644},
		{"Secret", func(n, s string) error { return wholefile.Secret(n, []byte(s)) }, 0o600},
		{"Lasting", func(n, s string) error { return wholefile.Lasting(n, []byte(s)) }, 0o600},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "file.yaml")
			for _, content := range []string{"the first, which is longer", "the second", ""} {
				if err := c.write(name, content); err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(name)
				info, statErr := os.Stat(name)
				if err != nil || statErr != nil || string(got) != content || info.Mode() != c.mode {
					t.Errorf("%q with mode %v (%v, %v), want %q with %v", got, info.Mode(), err, statErr, content, c.mode)
				}
				alone(t, name)
			}
			if err := c.write(filepath.Join(filepath.Dir(name), "none", "file"), "x"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("in a folder that is not there: %v", err)
			}
		})
	}
}

// broken gives some bytes and then fails. Meanwhile what is written must not look like configuration.
type broken struct {
	t      *testing.T
	folder string
	rest   []byte
}

func (b *broken) Read(p []byte) (int, error) {
	entries, _ := os.ReadDir(b.folder)
	for _, e := range entries {
		if n := e.Name(); n != "file.yaml" && (!strings.HasPrefix(n, ".") || strings.Contains(strings.TrimPrefix(n, "."), ".")) {
			b.t.Errorf("while it is written there is %s, which a reader of the folder may take for configuration", n)
		}
	}
	if len(b.rest) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// What cannot be had whole leaves the old file as it was.
func TestBroken(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file.yaml")
	if err := wholefile.Content(name, 0o644, []byte("old")); err != nil {
		t.Fatal(err)
	}
	err := wholefile.Write(name, 0o600, &broken{t, filepath.Dir(name), []byte("half of")})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("write of what ends early: %v", err)
	}
	if got, _ := os.ReadFile(name); string(got) != "old" {
		t.Errorf("the file is %q", got)
	}
	alone(t, name)
}

func alone(t *testing.T, name string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the file: %v, %v", entries, err)
	}
}
