package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, dir string, s *State) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(filepath.Join(dir, File)); err != nil {
		t.Fatal(err)
	}
}

func TestFindTakesTheLiveMeshStartedLast(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), "mizzen up -f PATH") {
		t.Errorf("no mesh: %v", err)
	}
	d, err := Create(Root())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(""); err == nil || !strings.Contains(err.Error(), "not ready yet") {
		t.Errorf("starting mesh: %v", err)
	}
	write(t, d.Path, &State{PID: 1, Started: time.Unix(100, 0)})
	// A mesh that died: newer, but nobody holds its lock.
	dead := filepath.Join(Root(), "4194303")
	write(t, dead, &State{PID: 2, Started: time.Unix(200, 0)})
	if err := os.WriteFile(filepath.Join(dead, lockFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Find("")
	if err != nil || s.PID != 1 {
		t.Fatalf("got %+v, %v", s, err)
	}
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Error("the dead mesh's directory is still there")
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(Root()); !os.IsNotExist(err) {
		t.Error("the root is left behind")
	}
}

func TestFindExplicit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, &State{PID: 7})
	for _, p := range []string{dir, filepath.Join(dir, File)} {
		if s, err := Find(p); err != nil || s.PID != 7 {
			t.Errorf("%s: %+v, %v", p, s, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestWorkloadByName(t *testing.T) {
	s := &State{Workloads: []Workload{
		{Name: "details-v1-0", Namespace: "default", Labels: map[string]string{"app": "details"}},
		{Name: "reviews-v1-0", Namespace: "default", Labels: map[string]string{"app": "reviews"}},
		{Name: "reviews-v1-0", Namespace: "other", Labels: map[string]string{"app": "reviews"}},
		{Name: "reviews-v2-0", Namespace: "default", Labels: map[string]string{"app": "reviews"}},
	}}
	for name, want := range map[string]string{
		"reviews-v2-0": "reviews-v2-0.default", "reviews-v2": "reviews-v2-0.default", "reviews": "reviews-v1-0.default",
		"reviews-v1-0.other": "reviews-v1-0.other", "det": "details-v1-0.default",
	} {
		if w, err := s.Workload(name); err != nil || w.Name+"."+w.Namespace != want {
			t.Errorf("%s: got %v, %v", name, w, err)
		}
	}
	if _, err := s.Workload("ratings"); err == nil || !strings.Contains(err.Error(), "details-v1-0") {
		t.Errorf("unknown workload: %v", err)
	}
}

func TestGatewayByName(t *testing.T) {
	s := &State{Gateways: []Gateway{{Name: "istio-ingressgateway"}, {Name: "istio-egressgateway"}}}
	for name, want := range map[string]string{"": "istio-ingressgateway", "istio-egressgateway.istio-system": "istio-egressgateway"} {
		if g, err := s.Gateway(name); err != nil || g.Name != want {
			t.Errorf("%q: got %v, %v", name, g, err)
		}
	}
	if _, err := (&State{}).Gateway(""); err == nil {
		t.Error("found a gateway in a mesh that has none")
	}
}
