package supervisor

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Command{Name: "sh", Path: "/bin/sh", Args: []string{"-c", script}, Grace: 100 * time.Millisecond, Backoff: time.Millisecond}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func TestRestartsWhatDies(t *testing.T) {
	p := shell(t, "sleep 60")
	first := p.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "a second process", func() bool { pid := p.PID(); return pid != 0 && pid != first })
	if p.Restarts() != 1 {
		t.Errorf("restarts: %d", p.Restarts())
	}
	second := p.PID()
	p.Stop()
	if alive(second) || p.PID() != 0 {
		t.Error("still alive after Stop")
	}
}

func TestStopKillsWhatIgnoresSIGTERMAndItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := shell(t, `trap "" TERM; (trap "" TERM; while :; do sleep 1; done) & echo $! >`+file+`.tmp; mv `+file+`.tmp `+file+`; while :; do sleep 1; done`)
	await(t, "the grandchild", func() bool { _, err := os.Stat(file); return err == nil })
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	pid := p.PID()
	p.Stop()
	if alive(pid) {
		t.Error("child alive")
	}
	await(t, "the grandchild's end", func() bool { return !running(grandchild) })
}

// running tells a zombie, which nobody may reap in a container without init, from a process.
func running(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(raw), ") Z ")
}

func TestFirstStartFails(t *testing.T) {
	_, err := Start(Command{Name: "envoy", Path: "/no/such/file"}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.HasPrefix(err.Error(), "start envoy: ") {
		t.Errorf("got %v", err)
	}
}

func TestStopDuringBackoff(t *testing.T) {
	p, err := Start(Command{Name: "sh", Path: "/bin/sh", Args: []string{"-c", "exit 3"}, Backoff: time.Hour}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "its end", func() bool { return p.PID() == 0 })
	p.Stop() // returns at once, or the test times out
}
