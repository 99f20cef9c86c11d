package envoytest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/proctest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

// Options say how Envoy is started.
type Options struct {
	// Config is the bootstrap, YAML or JSON. Every port_value from 10000 to 10099 in it is replaced by a free port,
	// the same one for the same number; Addr tells which. The admin address is replaced too.
	Config string
	// Concurrency is the number of workers, default 1.
	Concurrency int
	// Module is the path of the dynamic module, default Module(t); "-": none.
	Module string
	// LogLevel defaults to "warning".
	LogLevel string
	// Args and Env are added to the command line and the environment.
	Args, Env []string
	// ReadyTimeout bounds the start, default 30 s.
	ReadyTimeout time.Duration
}

// Envoy is a running Envoy. It ends with the test.
type Envoy struct {
	process *proctest.Process
	admin   string
	ports   map[int]int
	log     *textlog.Buffer
}

// Start starts Envoy and waits until it is ready. It skips the test if there is no Envoy.
func Start(t testing.TB, o Options) *Envoy {
	t.Helper()
	e, err := TryStart(t, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TryStart is Start for configurations that Envoy may refuse: the error then holds Envoy's log.
func TryStart(t testing.TB, o Options) (*Envoy, error) {
	t.Helper()
	bin := Find(t)
	if o.Module == "" {
		o.Module = Module(t)
	}
	e, err := Launch(bin, t.TempDir(), o)
	if e != nil {
		t.Cleanup(func() {
			e.Stop()
			if t.Failed() {
				t.Logf("Envoy's log:\n%s", e.Log())
			}
		})
	}
	return e, err
}

// Launch starts bin outside of a test, with files in dir, and waits until it is ready. The caller stops a non-nil
// Envoy, also when there is an error. Options.Module must be set.
func Launch(bin, dir string, o Options) (*Envoy, error) {
	config, ports, err := Ports(o.Config)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "envoy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write Envoy's configuration: %w", err)
	}
	adminFile := filepath.Join(dir, "admin")
	args := []string{"-c", file, "--use-dynamic-base-id", "--admin-address-path", adminFile,
		"--concurrency", strconv.Itoa(max(o.Concurrency, 1)), "-l", or(o.LogLevel, "warning"),
		"--config-yaml", "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}",
		"--parent-shutdown-time-s", "2"}
	if !slices.Contains(o.Args, "--drain-time-s") {
		args = append(args, "--drain-time-s", "1")
	}
	cmd := exec.Command(bin, append(args, o.Args...)...)
	cmd.Env = append(append(os.Environ(), moduleEnv(o.Module)...), o.Env...)
	e := &Envoy{ports: ports, log: &textlog.Buffer{}}
	cmd.Stdout, cmd.Stderr = e.log, e.log
	if e.process, err = proctest.Launch("Envoy", cmd); err != nil {
		return nil, err
	}
	limit := o.ReadyTimeout
	if limit == 0 {
		limit = 30 * time.Second
	}
	return e, e.await(adminFile, limit)
}

func moduleEnv(so string) []string {
	if so == "-" {
		return nil
	}
	return []string{"ENVOY_DYNAMIC_MODULES_SEARCH_PATH=" + filepath.Dir(so)}
}

// await waits for the admin address, and then until Envoy says that it is ready.
func (e *Envoy) await(adminFile string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if e.admin == "" {
			b, err := os.ReadFile(adminFile)
			if err == nil {
				e.admin = string(bytes.TrimSpace(b))
			}
		}
		if e.admin != "" && e.ready() {
			return nil
		}
		select {
		case <-e.process.Gone():
			return fmt.Errorf("Envoy ended with %d before it was ready\n%s", e.process.Code(), e.Log())
		case <-ctx.Done():
			return fmt.Errorf("Envoy is not ready after %v\n%s", limit, e.Log())
		case <-tick.C:
		}
	}
}

func (e *Envoy) ready() bool {
	resp, err := http.Get("http://" + e.admin + "/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Stop ends Envoy and waits for its end. Calling it again does nothing.
func (e *Envoy) Stop() {
	e.process.Signal(syscall.SIGTERM)
	select {
	case <-e.process.Gone():
	case <-time.After(5 * time.Second):
		e.process.Kill()
	}
}

// Running tells whether the process lives.
func (e *Envoy) Running() bool { return e.process.Running() }

// PID is Envoy's process id.
func (e *Envoy) PID() int { return e.process.PID() }

// Log is what Envoy has printed so far, access logs on its standard output included.
func (e *Envoy) Log() string { return e.log.String() }

// Validate runs `envoy --mode validate` on a configuration and returns its output; err is non-nil if
// Envoy refuses it. module is as in Options.
func Validate(t testing.TB, config, module string) (string, error) {
	t.Helper()
	bin := Find(t)
	if module == "" {
		module = Module(t)
	}
	file := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--mode", "validate", "-c", file, "-l", "warning")
	cmd.Env = append(os.Environ(), moduleEnv(module)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
