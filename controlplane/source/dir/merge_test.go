package dir

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// TestTouchIsTheWhole: over random sequences of files written and removed below two paths, reading the files that something happened
// to comes to what reading everything comes to.
func TestTouchIsTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	root := t.TempDir()
	paths := []string{filepath.Join(root, "a"), filepath.Join(root, "b")}
	for _, d := range []string{"a", "a/x", "b"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"a/1.yaml", "a/2.yaml", "a/x/3.yaml", "a/x.yaml", "b/1.yaml", "b/2.yaml", "b/.hidden.yaml", "b/readme.md"}
	objects := []string{"a", "b", "c", "d", "e"}
	s := newState(paths, strings.NewReader(""), time.Now)
	if _, err := s.scan(func(string) {}, nil, true); err != nil {
		t.Fatal(err)
	}
	s.snapshot()
	for step := range 400 {
		name := filepath.Join(root, names[r.IntN(len(names))])
		if r.IntN(4) == 0 {
			_ = os.Remove(name)
		} else {
			var docs []string
			for range 1 + r.IntN(4) {
				doc := service(objects[r.IntN(len(objects))], 1+r.IntN(3))
				switch r.IntN(8) {
				case 0:
					doc = strings.Replace(doc, "metadata: {", `metadata: {annotations: {mizzen.dev/deleted: "true"}, `, 1)
				case 1:
					doc = strings.Replace(doc, "kind: Service\n", "kind: Namespace\n", 1)
				}
				docs = append(docs, doc)
			}
			write(t, name, strings.Join(docs, "---\n"))
		}
		if !s.touch(map[string]bool{name: true}) {
			t.Fatalf("step %d: %s needs a scan", step, name)
		}
		set, diags := s.snapshot()
		want, wantDiags, err := Load(paths)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := showAll(set, diags), showAll(want, wantDiags); got != want {
			t.Fatalf("step %d, %s:\ngot\n%s\nwant\n%s", step, name, got, want)
		}
	}
}

func showAll(set istio.Set, diags istio.Diagnostics) string {
	var out strings.Builder
	for _, m := range set.Metas() {
		fmt.Fprintln(&out, m.Ref, m.Position, string(m.Raw))
	}
	for _, d := range diags {
		fmt.Fprintln(&out, d)
	}
	return out.String()
}

// TestUnchangedObjectsStayTheSameValues: within one file of many documents, too.
func TestUnchangedObjectsStayTheSameValues(t *testing.T) {
	dir := t.TempDir()
	var docs []string
	for i := range 20 {
		docs = append(docs, service(fmt.Sprintf("s%02d", i), 80))
	}
	big, small := filepath.Join(dir, "big.yaml"), filepath.Join(dir, "small.yaml")
	write(t, big, strings.Join(docs, "---\n"))
	write(t, small, service("t", 80))
	s := newState([]string{dir}, nil, time.Now)
	if _, err := s.scan(func(string) {}, nil, false); err != nil {
		t.Fatal(err)
	}
	before, _ := s.snapshot()
	docs[7] = service("s07", 81)
	write(t, big, strings.Join(docs, "---\n"))
	s.touch(map[string]bool{big: true})
	after, _ := s.snapshot()
	for i := range before.Services {
		if same := before.Services[i] == after.Services[i]; same != (i != 7) {
			t.Errorf("service %d is the same value: %v", i, same)
		}
	}
	write(t, small, service("t", 80)) // nothing new
	s.touch(map[string]bool{small: true})
	if again, _ := s.snapshot(); !reflect.DeepEqual(again.Services, after.Services) || &again.Services[0] != &after.Services[0] {
		t.Error("a file written as it was makes a new list")
	}
}
