package kubetest

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// process is a program that runs. It ends with this process, whatever ends this.
type process struct {
	name   string
	pid    int
	log    *textlog.Buffer
	exited chan struct{} // closed once it has ended and was waited for
}

// launch starts a program on a thread that lives as long as it: the kernel ends it with the thread that started it.
func launch(log *textlog.Buffer, name, path string, args ...string) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{name: name, log: log, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed: the error says no more
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// kill ends it at once and waits for its end. A nil process has ended.
func (p *process) kill() {
	if p != nil && p.running() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended meanwhile
		<-p.exited
	}
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}
