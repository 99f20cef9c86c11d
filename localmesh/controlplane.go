package localmesh

import (
	"fmt"
	"path/filepath"

	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Where the control plane listens if the ports are free.
const (
	localhost = "127.0.0.1"
	portXDS   = 15010
	portTLS   = 15012
	portHTTP  = 15014
)

// controlPlane is the child process that configures the proxies, and where it listens.
type controlPlane struct {
	state.ControlPlane
	process *supervisor.Process
}

// startControlPlane runs `mizzen controlplane` over paths. Its ports stay the same when it is started again, so that the
// proxies find it.
func (m *mesh) startControlPlane(paths []string) error {
	xds, err := address(portXDS)
	if err != nil {
		return err
	}
	pages, err := address(portHTTP)
	if err != nil {
		return err
	}
	secure, err := address(portTLS)
	if err != nil {
		return err
	}
	if err := m.ids.connect(secure); err != nil {
		return err
	}
	cp := &controlPlane{ControlPlane: state.ControlPlane{XDS: xds, Secure: secure, HTTP: "http://" + pages}}
	args := []string{"controlplane", "--xds-addr", xds, "--http-addr", pages, "--module-dir", m.modules(), "--state-dir", filepath.Join(m.dir.Path, "last-good")}
	if m.o.Filters != "" {
		args = append(args, "--filters", string(m.o.Filters))
	}
	if m.pods != nil {
		args = append(args, "--service-cidr", podnet.Services)
	}
	for _, p := range paths {
		args = append(args, "--config", p)
	}
	args = append(args, m.limiter.flags(m)...)
	args = append(args, m.ids.flags(secure, m.o)...)
	cp.process, err = supervisor.Start(supervisor.Command{
		Name: "control plane", Path: m.o.Executable, Args: args, Env: m.o.Env, Output: m.logFile("controlplane"),
	}, m.o.Log)
	if err != nil {
		return err
	}
	m.cp = cp
	return nil
}

// address of the port on localhost, or of a free one.
func address(port uint32) (string, error) {
	free, err := loopback.Choose(localhost, port)
	return fmt.Sprintf("%s:%d", localhost, free), err
}

// logFile takes what a process writes, in the state directory.
func (m *mesh) logFile(name string) string {
	return filepath.Join(m.dir.Path, "logs", plan.FileName(name)+".log")
}

// modules is where the control plane keeps the modules of plugins, for all proxies.
func (m *mesh) modules() string { return filepath.Join(m.dir.Path, "modules") }
