//go:build linux

package netnstest

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// Process is a program that runs in a pod until it is stopped, or the test ends. What it wrote is shown if the test has failed.
type Process struct {
	cmd  *exec.Cmd
	log  *textlog.Buffer
	gone chan struct{}
	once sync.Once
}

// Start starts a program in the pod, with an environment of its own (PATH is there).
func (p Pod) Start(t *testing.T, name string, uid int, env []string, command ...string) *Process {
	t.Helper()
	x := &Process{cmd: p.Command(context.Background(), uid, command...), log: &textlog.Buffer{}, gone: make(chan struct{})}
	x.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	x.cmd.Stdout, x.cmd.Stderr = x.log, x.log
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel ends a child with the thread that started it
		defer runtime.UnlockOSThread()
		err := x.cmd.Start()
		started <- err
		if err == nil {
			_ = x.cmd.Wait()
		}
		close(x.gone)
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	t.Cleanup(func() {
		x.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, x.log)
		}
	})
	return x
}

// PID of the program, which ip and setpriv have become.
func (x *Process) PID() int { return x.cmd.Process.Pid }

// Signal sends one.
func (x *Process) Signal(s os.Signal) { _ = x.cmd.Process.Signal(s) }

// Gone is closed when the program has ended.
func (x *Process) Gone() <-chan struct{} { return x.gone }

// Kill ends the program at once.
func (x *Process) Kill() {
	x.once.Do(func() { _ = x.cmd.Process.Kill() })
	<-x.gone
}
