// Package proctest runs the programs that tests need beside an Envoy.
package proctest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// Process is a program that runs. On Linux it ends with this process, whatever ends this.
type Process struct {
	cmd  *exec.Cmd
	log  *textlog.Buffer // nil of one that was launched
	gone chan struct{}
	once sync.Once
}

// Launch starts a program, under a name for errors. The caller ends it.
func Launch(name string, cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, gone: make(chan struct{})}
	cmd.SysProcAttr = tied()
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel ends a child with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed, or its log says more
			close(p.gone)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// Start starts a program that runs until it is killed, or the test ends. What it wrote is shown if the test has failed.
func Start(t *testing.T, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	log := &textlog.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := Launch(name, cmd)
	if err != nil {
		t.Fatal(err)
	}
	p.log = log
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, log)
		}
	})
	return p
}

// PID is the program's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what a program that was started has written.
func (p *Process) Log() string { return p.log.String() }

// Signal sends one. The program may have ended.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Gone is closed when the program has ended.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Code is the program's exit code, once it is gone; -1 of a signal.
func (p *Process) Code() int {
	<-p.gone
	return p.cmd.ProcessState.ExitCode()
}

// Running tells whether the program has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// Kill ends the program at once, and waits for its end. A nil Process has ended.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	p.once.Do(func() { _ = p.cmd.Process.Kill() })
	<-p.gone
}
