package scenarios

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// Row 23: the control plane dies and comes back under load; nobody notices and nothing is pushed.
func TestControlPlaneRestart(t *testing.T) {
	m := shared.Mesh(t)
	m.Apply(t, throughGateway)
	m.ViaGateway().Await(t, "the way in", hasCode(200), "/")
	l := startLoad(m, 4, hasCode(200))
	awaitQuiet(t, m)
	pid := controlPlanePid(t, m)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, "another control plane runs", func() bool { p := findControlPlane(m); return p != 0 && p != pid })
	meshtest.Eventually(t, "every proxy is back", func() bool {
		return metric(m, `pilot_xds(?:\{[^}]*\})?`) >= len(m.Ready.Workloads)+len(m.Ready.Gateways)
	})
	seen := l.sent.Load()
	meshtest.Eventually(t, "traffic after the restart", func() bool { return l.sent.Load() > seen+200 })
	if n := metric(m, `pilot_xds_pushes\{[^}]*\}`); n != 0 {
		t.Errorf("%d pushes after a restart that changed nothing", n)
	}
	l.end(t)
	m.Apply(t, reviewsTo("  - route: [{destination: {host: reviews, subset: v2}}]\n"))
	m.From(t, "productpage-v1-0").Await(t, "changes still arrive", isVersion("v2"), reviews)
}

// awaitQuiet waits until nothing has been pushed for three seconds: clusters that no route names any more are withdrawn
// two seconds after their last route, and that would be a push for a reason.
func awaitQuiet(t *testing.T, m *meshtest.Mesh) {
	t.Helper()
	last, since := -1, time.Now()
	meshtest.Eventually(t, "no pushes for a while", func() bool {
		if n := metric(m, `pilot_xds_pushes\{[^}]*\}`); n != last {
			last, since = n, time.Now()
		}
		return last >= 0 && time.Since(since) > 3*time.Second
	})
}

// metric sums the control plane's samples whose name and labels match; -1 while it cannot be asked.
func metric(m *meshtest.Mesh, pattern string) int {
	return metricOf(m.Ready.ControlPlane.HTTP, pattern)
}

// metricOf is metric of another server's pages.
func metricOf(pages, pattern string) int {
	res, err := http.Get(pages + "/metrics")
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return -1
	}
	sum := 0.0
	for _, sample := range regexp.MustCompile(`(?m)^`+pattern+` (\S+)$`).FindAllStringSubmatch(string(b), -1) {
		var v float64
		fmt.Sscan(sample[1], &v)
		sum += v
	}
	return int(sum)
}

func controlPlanePid(t *testing.T, m *meshtest.Mesh) int {
	t.Helper()
	pid := findControlPlane(m)
	if pid == 0 {
		t.Fatal("no control plane process among the children of mizzen up")
	}
	return pid
}

// findControlPlane looks for the child of `mizzen up` that is `mizzen controlplane`.
func findControlPlane(m *meshtest.Mesh) int {
	for pid, args := range children(m.Pid()) {
		if strings.Contains(args, "\x00controlplane\x00") {
			return pid
		}
	}
	return 0
}

// children reads the direct children of a process and their command lines from /proc.
func children(parent int) map[int]string {
	found := map[int]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, ppid int
		var state string
		end := strings.LastIndexByte(string(b), ')')
		fmt.Sscan(string(b), &pid)
		fmt.Sscan(string(b[end+1:]), &state, &ppid)
		if ppid == parent && state != "Z" {
			args, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
			found[pid] = string(args)
		}
	}
	return found
}

// Row 24: a wrong object is refused where it is applied, or kept out with its last good state where it is watched.
func TestConfigErrors(t *testing.T) {
	m := shared.Mesh(t)
	c := m.From(t, "productpage-v1-0")
	for name, tc := range map[string]struct{ yaml, want string }{
		"unknown field":  {"  - timeouts: 1s\n    route: [{destination: {host: reviews}}]\n", "timeout"},
		"bad percentage": {"  - fault: {abort: {httpStatus: 503, percentage: {value: 120}}}\n    route: [{destination: {host: reviews}}]\n", "100"},
		"bad type":       {"  - route: [{destination: {host: reviews}, weight: much}]\n", "weight"},
	} {
		t.Run(name, func(t *testing.T) {
			out, status := m.Run(t, reviewsTo(tc.yaml), "apply", "-f", "-")
			if status == 0 || !strings.Contains(out, tc.want) || !regexp.MustCompile(`:\d+`).MatchString(out) {
				t.Errorf("apply ended with %d and said:\n%s", status, out)
			}
		})
	}
	file := filepath.Join(m.Dir, "reviews.yaml")
	defer os.Remove(file)
	write := func(yaml string) {
		if err := os.WriteFile(file, []byte(yaml), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(reviewsTo("  - route: [{destination: {host: reviews, subset: v2}}]\n"))
	// A file's change is not waited for by anybody, and without a rule every third answer is v2 anyway.
	c.Await(t, "v2 only", func(meshtest.Answer) bool { return c.Tally(t, 40, version, reviews)["v2"] == 40 }, reviews)
	write(reviewsTo("  - rout: [{destination: {host: reviews, subset: v3}}]\n"))
	meshtest.Eventually(t, "the mistake is told with its line", func() bool {
		return regexp.MustCompile(`reviews\.yaml:19:5.*rout`).MatchString(m.Output())
	})
	if got := c.Tally(t, 100, version, reviews); got["v2"] != 100 {
		t.Errorf("the last good state must stay: %v", got)
	}
	pid := controlPlanePid(t, m)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	meshtest.Eventually(t, "every proxy is back at another control plane", func() bool {
		return findControlPlane(m) != pid && metric(m, `pilot_xds(?:\{[^}]*\})?`) >= len(m.Ready.Workloads)+len(m.Ready.Gateways)
	})
	if got := c.Tally(t, 100, version, reviews); got["v2"] != 100 {
		t.Errorf("the last good state must stay over a restart of the control plane: %v", got)
	}
	os.Remove(file)
	c.Await(t, "gone with its file", isVersion("v3"), reviews)
}

// Ctrl-C leaves no process and no file.
func TestNothingIsLeft(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("XDG_RUNTIME_DIR", "")
	m := meshtest.Start(t, "testdata/bookshop", meshtest.Options{})
	pids := children(m.Pid())
	if len(pids) < 8 {
		t.Errorf("want a control plane, a gateway and six sidecars as children, got %d", len(pids))
	}
	start := time.Now()
	m.Stop(t)
	t.Logf("stopped in %v", time.Since(start))
	for pid, args := range pids {
		if meshtest.Alive(pid) {
			t.Errorf("process %d is left: %q", pid, args)
		}
	}
	left, err := filepath.Glob(filepath.Join(tmp, "mizzen*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}
