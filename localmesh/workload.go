package localmesh

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	"github.com/mizzen-mesh/mizzen/injector/dns"
	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
	"github.com/mizzen-mesh/mizzen/localmesh/standin"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Ports of a sidecar, as Istio's.
const (
	portAdmin = 15000
	portProxy = 15001
)

// workload is a replica that runs: its application, and the proxy before it unless it has none.
type workload struct {
	plan  *plan.Workload
	print string // what it was started from: a difference means starting it again
	pair  loopback.Pair
	app   interface{ Stop() }
	proxy *proxy // nil without a sidecar
	// anonymous: the sidecar has no certificate, so nobody sends it mesh TLS.
	anonymous bool
	pod       *podnet.Pod        // nil: it has no namespace
	dns       *dns.Server        // in the pod; nil: it asks the cluster's
	endNames  context.CancelFunc // of what dns follows; nil: it follows nothing yet
}

// fingerprint is all of a workload that its processes were started with.
func fingerprint(w *plan.Workload) string {
	c := *w
	c.Ports = slices.Clone(w.Ports)
	for i := range c.Ports {
		c.Ports[i].Name = "" // a Service that comes later may name it: nothing to start again for
	}
	if c.Exec == "" {
		c.Services = nil // only a program's environment has them
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return fmt.Sprintf("%+v", c)
	}
	return string(raw)
}

// place is where the workload has been put. Without a sidecar the application listens on the pod's address itself.
func (w *workload) place() plan.Place {
	if w.pod != nil {
		return plan.Place{PodIP: w.pod.IP, Application: "0.0.0.0", Identity: w.plan.Sidecar && !w.anonymous}
	}
	if !w.plan.Sidecar {
		return plan.Place{PodIP: w.pair.Sidecar, Application: w.pair.Sidecar}
	}
	return plan.Place{PodIP: w.pair.Sidecar, Application: w.pair.Application, Proxy: "http://" + w.address(portProxy), Identity: !w.anonymous}
}

func (w *workload) address(port int) string {
	return net.JoinHostPort(w.pair.Sidecar, strconv.Itoa(port))
}

// state is the workload's entry in the ready file.
func (w *workload) state() state.Workload {
	at := w.place()
	s := state.Workload{
		Name: w.plan.Name, Namespace: w.plan.Namespace, Labels: w.plan.Labels, Address: at.PodIP, Ports: w.plan.PortNumbers(),
		Proxy: at.Proxy, Application: at.Application,
	}
	if w.plan.Sidecar {
		s.Admin = w.address(portAdmin)
	}
	if w.pod != nil {
		s.Proxy, s.Application, s.Netns = "http://"+w.address(portProxy), w.pod.IP, w.pod.Namespace
	}
	return s
}

// newWorkload gives a planned workload its addresses.
func (m *mesh) newWorkload(p *plan.Workload) (*workload, error) {
	ports := p.PortNumbers()
	if m.pods != nil {
		ports = nil // they are the pod's
	}
	if p.Sidecar || m.pods != nil {
		ports = append(ports, portAdmin, portProxy)
	}
	pair, err := m.block.Take(p.Key(), ports)
	if err != nil {
		return nil, fmt.Errorf("place workload %s: %w", p.Name, err)
	}
	w := &workload{plan: p, print: fingerprint(p), pair: pair}
	if m.pods != nil {
		if err := m.newPod(w); err != nil {
			return w, fmt.Errorf("place workload %s: %w", p.Name, err)
		}
	}
	return w, nil
}

// startApplication starts the workload's program, or a stand-in for it.
func (m *mesh) startApplication(w *workload) error {
	at := w.place()
	if w.plan.Exec != "" || w.pod != nil {
		c := supervisor.Command{
			Name: "application " + w.plan.Name, Path: "/bin/sh", Args: []string{"-c", w.plan.Exec},
			Env: w.plan.Env(m.o.Env, at), Output: m.logFile(w.plan.Namespace + "." + w.plan.Name + ".app"),
		}
		if w.pod != nil {
			c.Namespace = w.pod.Namespace
		}
		if w.plan.Exec == "" {
			c.Path, c.Args = m.o.Executable, standinArgs(w.plan)
		}
		p, err := supervisor.Start(c, m.o.Log)
		if err != nil {
			return err
		}
		w.app = p
		return nil
	}
	ports := make([]standin.Port, len(w.plan.Ports))
	for i, p := range w.plan.Ports {
		ports[i] = standin.Port{Number: p.Number, TCP: p.TCP}
	}
	a, err := standin.Start(standin.Options{
		Service: w.plan.Service(), Version: w.plan.Version(), Instance: w.plan.Name, Address: at.Application, Ports: ports,
		Calls: w.plan.Calls, Forward: w.plan.Forward, Proxy: at.Proxy, Log: m.o.Log,
	})
	if err != nil {
		return err
	}
	w.app = stopper{a}
	return nil
}

// stopper makes a stand-in stoppable as a process is.
type stopper struct{ app *standin.App }

func (s stopper) Stop() { s.app.Close() }

// stop ends the proxy first: it drops nothing that the application would still have answered.
func (w *workload) stop() {
	if w.proxy != nil {
		w.proxy.stop()
	}
	if w.app != nil {
		w.app.Stop()
	}
	if w.endNames != nil {
		w.endNames()
	}
}

// removed takes a pod's namespace away. Where that fails, the end of the mesh, or the start of the next, tries again.
func (m *mesh) removed(p *podnet.Pod) {
	if err := p.Close(); err != nil {
		m.o.Log.Warn("a pod's network stays for now", "error", err)
	}
}

// writePod tells the control plane of a pod.
func (m *mesh) writePod(p *corev1.Pod) error {
	raw, err := yaml.Marshal(p)
	if err != nil {
		return fmt.Errorf("write pod %s: %w", p.Name, err)
	}
	return wholefile.Content(m.podFile(p.Namespace, p.Name), 0o644, raw)
}

func (m *mesh) removePod(namespace, name string) error {
	if err := os.Remove(m.podFile(namespace, name)); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove pod %s: %w", name, err)
	}
	return nil
}

func (m *mesh) podFile(namespace, name string) string {
	return filepath.Join(state.PodsDir(m.dir.Path), plan.PodFile(namespace, name))
}
