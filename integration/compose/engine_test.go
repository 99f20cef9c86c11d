package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// engine is a Docker engine in namespaces of its own: nothing of it is seen on this machine but its processes, and they end with it.
type engine struct {
	dir    string // of the socket and the log
	cgroup string // name of the control group that its containers' lie below
	pid    int    // of process 1 of its namespaces
	cmd    *exec.Cmd
	stdin  io.Closer // it ends when this is closed
	http   *http.Client
}

// startEngine starts an engine and waits until it answers. It ends with the test, and what it leaves is told.
func startEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "mizzen-compose-") // short: a socket is in it
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(envoytest.Root(), ".cache", "compose", "engine")
	lock(t, data)
	e := &engine{dir: dir, cgroup: filepath.Base(dir)}
	e.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", e.socket())
	}}}
	script, err := filepath.Abs("testdata/engine.sh")
	if err != nil {
		t.Fatal(err)
	}
	e.weigh()
	e.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		script, dir, data, e.cgroup)
	if e.stdin, err = e.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	e.cmd.Stderr = os.Stderr
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.stop(t) })
	envoytest.Await(t, 30*time.Second, "process 1 of the engine's namespaces", func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", e.cmd.Process.Pid))
		_, _ = fmt.Sscan(string(raw), &e.pid)
		return err == nil && e.pid != 0
	})
	envoytest.Await(t, time.Minute, "the Docker engine answers", func() bool {
		return e.do(t.Context(), "GET", "/_ping", nil, nil) == nil
	})
	e.tidy(t)
	return e
}

// weigh makes the containers' control group, which the scheduler would otherwise treat as one process: on a busy machine all of the shop
// would go at the pace of one. Where it cannot be made, so be it.
func (e *engine) weigh() {
	for hierarchy, setting := range map[string][2]string{"/sys/fs/cgroup/cpu": {"cpu.shares", "32768"}, "/sys/fs/cgroup": {"cpu.weight", "3200"}} {
		if _, err := os.Stat(filepath.Join(hierarchy, "cgroup.procs")); err == nil && os.Mkdir(filepath.Join(hierarchy, e.cgroup), 0o755) == nil {
			_ = os.WriteFile(filepath.Join(hierarchy, e.cgroup, setting[0]), []byte(setting[1]), 0o644)
		}
	}
}

// tidy removes what an earlier run may have left: containers of builds that failed, and layers that no build has made use of for long.
func (e *engine) tidy(t *testing.T) {
	t.Helper()
	old := url.QueryEscape(`{"dangling":["true"],"until":["72h"]}`)
	for _, path := range []string{"/containers/prune", "/images/prune?filters=" + old} {
		if err := e.do(t.Context(), "POST", path, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *engine) socket() string { return filepath.Join(e.dir, "docker.sock") }

// lock waits until no other test uses the engine's images.
func lock(t *testing.T, data string) {
	if err := os.MkdirAll(data, 0o711); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(data+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
}

// stop ends the engine and all that runs on it, and tells what is left.
func (e *engine) stop(t *testing.T) {
	if t.Failed() {
		log, _ := os.ReadFile(filepath.Join(e.dir, "log"))
		t.Logf("the engine wrote:\n%s", lastLines(string(log), 30))
	}
	e.stdin.Close()
	ended := make(chan struct{})
	go func() { _ = e.cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Error("the engine does not end within 30 s: it is killed")
		_ = e.cmd.Process.Kill() // and its child with it
		<-ended
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + e.cgroup)
	if _, err := os.Stat("/sys/fs/cgroup/" + e.cgroup); err == nil {
		groups = append(groups, "/sys/fs/cgroup/"+e.cgroup)
	}
	for _, g := range groups {
		if err := removeGroup(g); err != nil {
			t.Errorf("a control group is left: %v", err)
		}
	}
	if raw, err := os.ReadFile("/proc/mounts"); err != nil || bytes.Contains(raw, []byte(e.dir)) {
		t.Errorf("a mount below %s is left (%v)", e.dir, err)
	}
	if left := processesWith(e.dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if err := os.RemoveAll(e.dir); err != nil {
		t.Error(err)
	}
}

// removeGroup removes a control group and those below it. The last process of one may end a moment after it was killed.
func removeGroup(dir string) error {
	var err error
	for range 100 {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
			if d != nil && d.IsDir() && path != dir {
				_ = removeGroupOnce(path)
			}
			return nil
		})
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("remove %s: %w", dir, err)
}

func removeGroupOnce(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = removeGroupOnce(filepath.Join(dir, e.Name()))
		}
	}
	return syscall.Rmdir(dir)
}

// processesWith are the command lines that name s, but for this process's.
func processesWith(s string) []string {
	var out []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if raw, err := os.ReadFile(f); err == nil && bytes.Contains(raw, []byte(s)) {
			out = append(out, strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	return out
}

// inside runs f on a thread in the engine's network.
func (e *engine) inside(f func() error) error {
	return netns.DoAt(fmt.Sprintf("/proc/%d/ns/net", e.pid), f)
}

// dial connects as a process beside the engine does: its localhost is where ports are published.
func (e *engine) dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = e.inside(func() (err error) {
		c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// raw asks the engine's API and returns what it answers.
func (e *engine) raw(ctx context.Context, method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, err
	}
	res, err := e.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, raw)
	}
	return raw, err
}

// do asks the engine's API. The answer is decoded into out unless that is nil.
func (e *engine) do(ctx context.Context, method, path string, body io.Reader, out any) error {
	raw, err := e.raw(ctx, method, path, body)
	switch {
	case err != nil:
		return err
	case out != nil:
		return json.Unmarshal(raw, out)
	}
	// What goes on for long answers with a line of JSON for each step.
	for _, line := range strings.Split(string(raw), "\n") {
		var step struct{ Error string }
		if json.Unmarshal([]byte(line), &step) == nil && step.Error != "" {
			return fmt.Errorf("%s %s: %s\n%s", method, path, step.Error, lastLines(string(raw), 20))
		}
	}
	return nil
}

// lastLines of a text.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
