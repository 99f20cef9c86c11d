package meshtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// For is how long a test goes on: what the environment variable says ("5m"), else otherwise.
func For(t testing.TB, variable string, otherwise time.Duration) time.Duration {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatalf("read %s: %v", variable, err)
	}
	return d
}

// Replace changes a file in one step: who watches it sees the old content or the new one.
func Replace(t testing.TB, file, content string) {
	t.Helper()
	next := filepath.Join(filepath.Dir(file), ".next")
	if err := os.WriteFile(next, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		t.Fatal(err)
	}
}

// Admin reads a page of the administration of a workload's Envoy.
func (m *Mesh) Admin(t testing.TB, workload, page string) []byte {
	t.Helper()
	for _, w := range m.Ready.Workloads {
		if w.Name == workload {
			return download(t, "http://"+w.Admin+page)
		}
	}
	t.Fatalf("no workload %q", workload)
	return nil
}

// Pages reads a page of the control plane.
func (m *Mesh) Pages(t testing.TB, page string) []byte {
	t.Helper()
	return download(t, m.Ready.ControlPlane.HTTP+page)
}

func download(t testing.TB, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// syncStatus is how far a proxy is, as /debug/syncz has it.
type syncStatus struct {
	Synced     bool
	Generation int
}

func (m *Mesh) syncz(t testing.TB) []syncStatus {
	t.Helper()
	var list []syncStatus
	if err := json.Unmarshal(m.Pages(t, "/debug/syncz"), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// Generation is the newest that a proxy was built for.
func (m *Mesh) Generation(t testing.TB) int {
	t.Helper()
	newest := 0
	for _, s := range m.syncz(t) {
		newest = max(newest, s.Generation)
	}
	return newest
}

// AwaitGeneration waits until every proxy has acknowledged a generation or a later one.
func (m *Mesh) AwaitGeneration(t testing.TB, generation int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("every proxy has generation %d", generation), func() bool {
		list := m.syncz(t)
		for _, s := range list {
			if !s.Synced || s.Generation < generation {
				return false
			}
		}
		return len(list) == len(m.Ready.Workloads)+len(m.Ready.Gateways)
	})
}
