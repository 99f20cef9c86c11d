// Package golden runs tests from txtar files: input and expected output in one readable place. `go test -update`
// rewrites the expected parts. For tests only.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expected parts of txtar cases")

// Case is one txtar file.
type Case struct {
	Name    string // file name without .txtar
	Path    string
	Archive *txtar.Archive
}

// File returns a file of the archive, nil if it has none of that name.
func (c *Case) File(name string) []byte {
	for _, f := range c.Archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// Load reads every *.txtar of a directory, sorted by name. None at all is a failure.
func Load(t testing.TB, dir string) []*Case {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("find cases in %s: %d found, %v", dir, len(paths), err)
	}
	sort.Strings(paths)
	var out []*Case
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatalf("read case: %v", err)
		}
		out = append(out, &Case{Name: strings.TrimSuffix(filepath.Base(p), ".txtar"), Path: p, Archive: a})
	}
	return out
}

// Run calls produce for each case of dir as a subtest, and compares what it returns, by file name, with the archive's
// files of those names. An output that is empty and not in the archive is fine.
func Run(t *testing.T, dir string, produce func(t *testing.T, c *Case) map[string]string) {
	for _, c := range Load(t, dir) {
		t.Run(c.Name, func(t *testing.T) { c.Check(t, produce(t, c)) })
	}
}

// Check compares output with the archive; with -update it writes it there.
func (c *Case) Check(t *testing.T, output map[string]string) {
	t.Helper()
	names := make([]string, 0, len(output))
	for n := range output {
		names = append(names, n)
	}
	sort.Strings(names)
	changed := false
	for _, n := range names {
		got := output[n]
		if got != "" && !strings.HasSuffix(got, "\n") {
			got += "\n"
		}
		if got == string(c.File(n)) {
			continue
		}
		changed = true
		if !*update {
			t.Errorf("%s: %s differs (-want +got; go test -update rewrites it):\n%s", c.Path, n, Diff(string(c.File(n)), got))
			continue
		}
		c.set(n, []byte(got))
	}
	if changed && *update {
		if err := os.WriteFile(c.Path, txtar.Format(c.Archive), 0o644); err != nil {
			t.Fatalf("write case: %v", err)
		}
	}
}

// set replaces, appends or (with no data) removes a file.
func (c *Case) set(name string, data []byte) {
	files := c.Archive.Files
	for i := range files {
		if files[i].Name != name {
			continue
		}
		if len(data) == 0 {
			c.Archive.Files = append(files[:i:i], files[i+1:]...)
			return
		}
		files[i].Data = data
		return
	}
	if len(bytes.TrimSpace(data)) > 0 {
		c.Archive.Files = append(files, txtar.File{Name: name, Data: data})
	}
}
