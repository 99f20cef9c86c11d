// Package supervisor runs child processes that must not outlive this one: each in its own process group, started again
// when it dies, stopped first politely and then for certain.
package supervisor

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// Command is what to run.
type Command struct {
	Name string // for messages
	Path string
	Args []string // without the program's own name
	Env  []string // the whole environment; nil inherits ours
	Dir  string   // "" ours
	// Namespace names the network namespace to run in, with its files in /etc: see netns.Enter. "": ours.
	Namespace string
	// Group is the group to run as, without any other; 0: ours.
	Group uint32
	// Output names a file that stdout and stderr are appended to; "" discards. A file, not a writer: a grandchild that
	// holds a pipe open would keep us from noticing that the child has died.
	Output string
	// Inherit lets the child write to our own stdout and stderr instead.
	Inherit bool
	// Grace between SIGTERM and SIGKILL; 0 is two seconds.
	Grace time.Duration
	// Backoff before the first restart, doubled by each up to 50 times as long; 0 is 100 ms.
	Backoff time.Duration
}

// Process is a child that is kept running until Stop.
type Process struct {
	cmd  Command
	log  *slog.Logger
	stop chan struct{}
	once sync.Once
	done chan struct{}

	mu       sync.Mutex
	pid      int // 0 while none runs
	restarts int
}

// steady is how long a child must have run for its death to count as the first.
const steady = 10 * time.Second

// Start starts the command and keeps it running. Only a failure of the first start is returned.
func Start(cmd Command, log *slog.Logger) (*Process, error) {
	if cmd.Grace == 0 {
		cmd.Grace = 2 * time.Second
	}
	if cmd.Backoff == 0 {
		cmd.Backoff = 100 * time.Millisecond
	}
	p := &Process{cmd: cmd, log: log, stop: make(chan struct{}), done: make(chan struct{})}
	first := make(chan error, 1)
	go p.keep(first)
	if err := <-first; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Name, err)
	}
	return p, nil
}

// PID of the child that runs now; 0 if none does.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Restarts counts how often the child was started again.
func (p *Process) Restarts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.restarts
}

// Stop ends the child and its process group and waits until it is gone. Call it as often as you like.
func (p *Process) Stop() {
	p.once.Do(func() { close(p.stop) })
	<-p.done
}

// keep runs on one OS thread: the kernel ends a child with the *thread* that started it, if the child asked for that.
func (p *Process) keep(first chan<- error) {
	defer close(p.done)
	runtime.LockOSThread()
	if p.cmd.Namespace == "" {
		defer runtime.UnlockOSThread()
	} else if err := netns.Enter(p.cmd.Namespace); err != nil { // the thread ends with us
		first <- err
		return
	}
	wait := p.cmd.Backoff
	for {
		began := time.Now()
		c, err := p.start()
		if first != nil {
			first <- err
			if err != nil {
				return
			}
			first = nil
		}
		if err == nil {
			err = p.wait(c)
		}
		select {
		case <-p.stop:
			return
		default:
		}
		if time.Since(began) > steady {
			wait = p.cmd.Backoff
		}
		p.log.Warn("process ended, starting it again", "name", p.cmd.Name, "error", err, "in", wait)
		if !p.sleep(wait) {
			return
		}
		wait = min(2*wait, 50*p.cmd.Backoff)
		p.mu.Lock()
		p.restarts++
		p.mu.Unlock()
	}
}

// sleep returns false if Stop came first.
func (p *Process) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
		return false
	}
}

func (p *Process) start() (*exec.Cmd, error) {
	c := exec.Command(p.cmd.Path, p.cmd.Args...)
	c.Env, c.Dir = p.cmd.Env, p.cmd.Dir
	if p.cmd.Output != "" {
		out, err := os.OpenFile(p.cmd.Output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		c.Stdout, c.Stderr = out, out
	}
	if p.cmd.Inherit {
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
	}
	c.SysProcAttr = attributes()
	if p.cmd.Group != 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(os.Getuid()), Gid: p.cmd.Group}
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	p.setPID(c.Process.Pid)
	return c, nil
}

func (p *Process) setPID(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pid = pid
}

// wait returns once the child is gone, after ending it if Stop is called.
func (p *Process) wait(c *exec.Cmd) error {
	pid := c.Process.Pid
	gone := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		select {
		case <-gone:
			return
		case <-p.stop:
		}
		signal(pid, syscall.SIGTERM)
		t := time.NewTimer(p.cmd.Grace)
		defer t.Stop()
		select {
		case <-gone:
		case <-t.C:
			signal(pid, syscall.SIGKILL)
		}
	}()
	err := c.Wait()
	p.setPID(0)
	close(gone)
	<-finished
	signal(pid, syscall.SIGKILL) // what the child left of its group
	if err == nil {
		err = errors.New("exit status 0")
	}
	return err
}

// signal reaches the whole process group. It is gone if this fails.
func signal(pid int, s syscall.Signal) { _ = syscall.Kill(-pid, s) }
