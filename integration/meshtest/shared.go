package meshtest

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Shared is one mesh for all tests of a package, started by the first that asks and stopped by Main.
type Shared struct {
	Manifests string

	once  sync.Once
	mesh  *Mesh
	err   error
	scope *scope
}

// Main runs the tests and stops the mesh: `func TestMain(m *testing.M) { shared.Main(m) }`.
func (s *Shared) Main(m *testing.M) {
	code := m.Run()
	if s.scope != nil && !s.scope.end(code != 0) {
		code = 1
	}
	os.Exit(code)
}

// Mesh returns the running mesh.
func (s *Shared) Mesh(t *testing.T) *Mesh {
	t.Helper()
	Envoy(t) // may skip: outside once, so that every test says why
	s.once.Do(func() {
		s.scope = &scope{TB: t}
		s.mesh, s.err = start(s.scope, s.Manifests, Options{})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.mesh
}

// scope is a testing.TB whose cleanups and temporary directories live until the package's tests end.
type scope struct {
	testing.TB
	cleanups []func()
	failed   bool
}

func (s *scope) Cleanup(f func()) { s.cleanups = append(s.cleanups, f) }
func (s *scope) Failed() bool     { return s.failed }
func (s *scope) Helper()          {}
func (s *scope) Logf(format string, args ...any) {
	printf(format, args...)
}

func (s *scope) Errorf(format string, args ...any) {
	s.failed = true
	printf(format, args...)
}

func (s *scope) TempDir() string {
	dir, err := os.MkdirTemp("", "meshtest-")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *scope) end(failed bool) (ok bool) {
	before := failed
	s.failed = failed
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	return before || !s.failed
}

// Eventually polls until ok, and fails the test after 15 s.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	envoytest.Await(t, 15*time.Second, what, ok)
}
