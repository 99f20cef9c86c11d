// Package localmesh tests `mizzen up` as a program: what it starts, how it follows changes and deaths, and that nothing of it
// remains. What the mesh does with traffic is tested in integration/scenarios.
package localmesh

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

const bookshop = "testdata/bookshop"

// chain is what the gateway answers once the chain stands.
const chain = "productpage v1 (productpage-v1-0) => details v1 (details-v1-0)"

// own gives the test a folder of state directories of its own.
func own(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return filepath.Join(dir, "mizzen")
}

// children are the processes that pid has started and that live: their pids and names.
func children(t *testing.T, pid int) map[int]string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(all) == 0 {
		t.Skip("no /proc to list processes from")
	}
	out := map[int]string{}
	for _, f := range all {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// pid (name) state ppid ...
		name := string(raw[bytes.IndexByte(raw, '(')+1 : bytes.LastIndexByte(raw, ')')])
		rest := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if rest[1] == strconv.Itoa(pid) && rest[0] != "Z" {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			out[n] = name
		}
	}
	return out
}

// lives tells a process from a zombie that nobody has reaped yet.
func lives(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(raw, []byte(") Z "))
}

func count(processes map[int]string, name string) (n, pid int) {
	for p, x := range processes {
		if x == name {
			n, pid = n+1, p
		}
	}
	return n, pid
}

func nothingLeft(t *testing.T, root string, processes map[int]string) {
	t.Helper()
	envoytest.Await(t, 5*time.Second, "every process gone", func() bool {
		for pid := range processes {
			if lives(pid) {
				return false
			}
		}
		return true
	})
	if _, err := os.Stat(root); !os.IsNotExist(err) {
		left, _ := filepath.Glob(root + "/*/*")
		t.Errorf("files are left: %v", left)
	}
}

func is(body string) func(meshtest.Answer) bool {
	return func(a meshtest.Answer) bool { return a.Code == 200 && a.Body == body }
}

func TestUpServesAppliesAndLeavesNothing(t *testing.T) {
	root := own(t)
	m := meshtest.Start(t, bookshop, meshtest.Options{})
	m.ViaGateway().Await(t, "the chain", is(chain), "/")
	processes := children(t, m.Pid())
	if envoys, _ := count(processes, "envoy"); envoys != 3 || len(processes) != 5 {
		t.Errorf("started %v, want an Envoy per workload and gateway, a control plane and a rate-limit server", processes)
	}
	for _, want := range []string{
		"gateway istio-ingressgateway: " + m.Gateway(), "NAME", "productpage-v1-0   default     v1", "ready in ", "3 proxies acknowledged", "mizzen call",
	} {
		if want == "mizzen call" {
			want = " call -n 200 /"
		}
		if !strings.Contains(m.Output(), want) {
			t.Errorf("no %q in\n%s", want, m.Output())
		}
	}
	out, code := m.Run(t, `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: details}, spec: {hosts: [details], http: [{fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: details}}]}]}}`, "apply", "-f", "-")
	if code != 0 || out != "virtualservice.networking.istio.io/details created\n" {
		t.Errorf("apply: %d %s", code, out)
	}
	a := m.ViaGateway().Must(t, "/")
	if a.Code != 503 || !strings.HasPrefix(a.Body, "productpage v1 (productpage-v1-0) => details: 418") {
		t.Errorf("after apply has returned: %d %q", a.Code, a.Body)
	}
	if out, code := m.Run(t, "", "delete", "vs", "details"); code != 0 {
		t.Errorf("delete: %d %s", code, out)
	}
	m.ViaGateway().Await(t, "the chain again", is(chain), "/")
	m.Stop(t)
	nothingLeft(t, root, processes)
}

// underLoad sends requests through the gateway, four at a time, until stop is called.
func underLoad(t *testing.T, m *meshtest.Mesh) (stop func() (n int, failed map[string]int)) {
	client := m.ViaGateway()
	client.Await(t, "the chain", is(chain), "/")
	quit := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	n, failed := 0, map[string]int{}
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-quit:
					return
				default:
				}
				a, err := client.Get("/", "slow: 5ms")
				mu.Lock()
				if n++; err != nil || a.Code != 200 {
					failed[fmt.Sprint(a.Code, a.Body, err)]++
				}
				mu.Unlock()
			}
		}()
	}
	return func() (int, map[string]int) { close(quit); wg.Wait(); return n, failed }
}

func TestUpFollowsItsFiles(t *testing.T) {
	own(t)
	m := meshtest.Start(t, bookshop, meshtest.Options{})
	file := filepath.Join(m.Dir, "bookshop.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	names := func() string {
		if err := m.Reload(); err != nil {
			return err.Error()
		}
		var out []string
		for _, w := range m.Ready.Workloads {
			out = append(out, w.Name)
		}
		for _, g := range m.Ready.Gateways {
			out = append(out, g.Name)
		}
		return strings.Join(out, " ")
	}
	become := func(what, want string) {
		t.Helper()
		envoytest.Await(t, 30*time.Second, what, func() bool { return names() == want })
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(m.Dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := underLoad(t, m)
	write("bookshop.yaml", strings.Replace(string(raw), "replicas: 1", "replicas: 2", 1))
	become("a second replica", "details-v1-0 details-v1-1 productpage-v1-0 istio-ingressgateway")
	m.ViaGateway().Await(t, "the second replica", func(a meshtest.Answer) bool { return strings.Contains(a.Body, "(details-v1-1)") }, "/")
	write("egress.yaml", `{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: out}, spec: {selector: {istio: egressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}}`)
	become("a second gateway", "details-v1-0 details-v1-1 productpage-v1-0 istio-ingressgateway istio-egressgateway")
	if err := os.Remove(filepath.Join(m.Dir, "egress.yaml")); err != nil {
		t.Fatal(err)
	}
	write("bookshop.yaml", string(raw))
	become("what it was", "details-v1-0 productpage-v1-0 istio-ingressgateway")
	if n, failed := stop(); n == 0 || len(failed) > 0 {
		t.Errorf("of %d requests while workloads came and went failed: %v", n, failed)
	}
	if envoys, _ := count(children(t, m.Pid()), "envoy"); envoys != 3 {
		t.Errorf("%d Envoys run", envoys)
	}
	counts := m.ViaGateway().Tally(t, 100, func(a meshtest.Answer) string { return a.Body }, "/")
	if counts[chain] != 100 {
		t.Errorf("after scaling down: %v", counts)
	}
}

func TestUpStartsAgainWhatDies(t *testing.T) {
	own(t)
	m := meshtest.Start(t, bookshop, meshtest.Options{})
	m.ViaGateway().Await(t, "the chain", is(chain), "/")
	envoys, one := count(children(t, m.Pid()), "envoy")
	_, control := count(children(t, m.Pid()), "mizzen")
	for _, pid := range []int{one, control} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	envoytest.Await(t, 15*time.Second, "as many processes again", func() bool {
		now := children(t, m.Pid())
		n, _ := count(now, "envoy")
		_, hasOld := now[one]
		_, c := count(now, "mizzen")
		return n == envoys && !hasOld && c != 0 && c != control
	})
	m.ViaGateway().Await(t, "the chain again", is(chain), "/")
	envoytest.Await(t, 15*time.Second, "all proxies synced again", func() bool {
		out, code := m.Run(t, "", "proxy-status")
		return code == 0 && strings.Count(out, "1.39") == envoys && !strings.Contains(out, "STALE")
	})
}

// up runs `mizzen up` to its end.
func up(t *testing.T, args ...string) (status int, output string) {
	t.Helper()
	cmd := exec.Command(meshtest.Binary(t), append([]string{"up", "--envoy", meshtest.Envoy(t)}, args...)...)
	cmd.Env = append(os.Environ(), "MIZZEN_MODULE="+meshtest.Module(t))
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestUpWithACommand(t *testing.T) {
	root := own(t)
	port := fmt.Sprint(envoytest.FreePort(t))
	ready := filepath.Join(t.TempDir(), "ready.json")
	script := `test -s "$MIZZEN_STATE/state.json" && test -s ` + ready + ` && ` + meshtest.Binary(t) + ` call / && echo "at $MIZZEN_GATEWAY" && exit 7`
	status, out := up(t, "-f", bookshop, "--gateway-port", port, "--ready-file", ready, "--", "sh", "-c", script)
	if status != 7 || !strings.Contains(out, chain) || !strings.Contains(out, "at http://127.0.0.1:"+port) {
		t.Errorf("exit %d:\n%s", status, out)
	}
	if _, err := os.Stat(ready); !os.IsNotExist(err) {
		t.Error("the ready file is left")
	}
	nothingLeft(t, root, nil)
	if status, out = up(t, "-f", bookshop, "--gateway-port", port, "--", "sh", "-c", "kill -9 $$"); status != 137 {
		t.Errorf("a command ended by SIGKILL: exit %d:\n%s", status, out)
	}
}

func TestUpThatFailsHalfWayLeavesNothing(t *testing.T) {
	root := own(t)
	not := filepath.Join(t.TempDir(), "not-envoy")
	if err := os.WriteFile(not, []byte("#!/bin/sh\necho this is no Envoy\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	status, out := up(t, "--envoy", not, "-f", bookshop, "--gateway-port", fmt.Sprint(envoytest.FreePort(t)))
	if status != 1 || !strings.Contains(out, "error: start envoy ") || !strings.Contains(out, "this is no Envoy") {
		t.Errorf("exit %d:\n%s", status, out)
	}
	nothingLeft(t, root, nil)
	status, out = up(t, "-f", "testdata/none")
	if status != 1 || !strings.Contains(out, "error: read manifests: ") {
		t.Errorf("exit %d:\n%s", status, out)
	}
	nothingLeft(t, root, nil)
}

func TestUpKilledTakesItsProcessesAlong(t *testing.T) {
	root := own(t)
	cmd := exec.Command(meshtest.Binary(t), "up", "--envoy", meshtest.Envoy(t), "-f", bookshop, "--gateway-port", fmt.Sprint(envoytest.FreePort(t)))
	cmd.Env = append(os.Environ(), "MIZZEN_MODULE="+meshtest.Module(t))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	envoytest.Await(t, 60*time.Second, "three Envoys and the state", func() bool {
		n, _ := count(children(t, cmd.Process.Pid), "envoy")
		states, _ := filepath.Glob(root + "/*/state.json")
		return n == 3 && len(states) == 1
	})
	processes := children(t, cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	envoytest.Await(t, 5*time.Second, "every process gone", func() bool {
		return !slices.ContainsFunc(keys(processes), lives)
	})
	// Its files stay until the next command looks for a mesh: that one finds none and clears them away.
	out, err := exec.Command(meshtest.Binary(t), "get", "vs").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "none is running") {
		t.Errorf("get: %v %s", err, out)
	}
	if left, _ := filepath.Glob(root + "/*"); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func keys(m map[int]string) []int {
	var out []int
	for k := range m {
		out = append(out, k)
	}
	return out
}
