package meshtest

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Shared is one mesh for all tests of a package, started by the first that asks and stopped by Main; one for each Isolation that tests
// set.
type Shared struct {
	Manifests string

	mu     sync.Mutex
	meshes map[string]*sharedMesh // by isolation
}

// sharedMesh is a running mesh, or why it does not run.
type sharedMesh struct {
	mesh  *Mesh
	err   error
	scope *scope
}

// Main runs the tests and stops the mesh: `func TestMain(m *testing.M) { shared.Main(m) }`.
func (s *Shared) Main(m *testing.M) {
	code := m.Run()
	for _, one := range s.meshes {
		if !one.scope.end(code != 0) {
			code = 1
		}
	}
	os.Exit(code)
}

// Mesh returns the running mesh, of the isolation that the environment names.
func (s *Shared) Mesh(t *testing.T) *Mesh {
	t.Helper()
	Envoy(t) // may skip: outside once, so that every test says why
	s.mu.Lock()
	defer s.mu.Unlock()
	isolation := os.Getenv(Isolation)
	one := s.meshes[isolation]
	if one == nil {
		one = &sharedMesh{scope: &scope{TB: t}}
		if s.meshes == nil {
			s.meshes = map[string]*sharedMesh{}
		}
		s.meshes[isolation] = one
		one.mesh, one.err = start(one.scope, s.Manifests, Options{})
	}
	if one.err != nil {
		t.Fatal(one.err)
	}
	return one.mesh
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
	envoytest.Await(t, time.Minute, what, ok)
}
