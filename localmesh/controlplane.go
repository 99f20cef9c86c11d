package localmesh

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/localmesh/loopback"
	"github.com/mizzen-mesh/mizzen/localmesh/supervisor"
)

// Where the control plane listens if the ports are free.
const (
	localhost = "127.0.0.1"
	portXDS   = 15010
	portHTTP  = 15014
)

// controlPlane is the child process that configures the proxies, and a client of its monitoring port.
type controlPlane struct {
	xdsPort  uint32
	httpPort uint32
	process  *supervisor.Process
	client   *http.Client
}

// startControlPlane runs `mizzen controlplane` over paths. Its ports stay the same when it is started again, so that the
// proxies find it.
func (m *mesh) startControlPlane(paths []string) error {
	cp := &controlPlane{client: &http.Client{Timeout: 5 * time.Second}}
	var err error
	if cp.xdsPort, err = loopback.Choose(localhost, portXDS); err != nil {
		return err
	}
	if cp.httpPort, err = loopback.Choose(localhost, portHTTP); err != nil {
		return err
	}
	args := []string{"controlplane", "--xds-addr", cp.xds(), "--http-addr", cp.http()}
	for _, p := range paths {
		args = append(args, "--config", p)
	}
	cp.process, err = supervisor.Start(supervisor.Command{
		Name: "control plane", Path: m.o.Executable, Args: args, Env: m.o.Env, Output: m.logFile("controlplane"),
	}, m.o.Log)
	if err != nil {
		return err
	}
	m.cp = cp
	return nil
}

func (c *controlPlane) xds() string  { return fmt.Sprintf("%s:%d", localhost, c.xdsPort) }
func (c *controlPlane) http() string { return fmt.Sprintf("%s:%d", localhost, c.httpPort) }

// get decodes what a debug page says.
func (c *controlPlane) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http()+path, nil)
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("ask control plane: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask control plane: %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("ask control plane: %s: %w", path, err)
	}
	return nil
}

func (c *controlPlane) world(ctx context.Context) (w server.Summary, err error) {
	return w, c.get(ctx, "/debug/worldz", &w)
}

func (c *controlPlane) proxies(ctx context.Context) (p []server.ProxyStatus, err error) {
	return p, c.get(ctx, "/debug/syncz", &p)
}

// diagnostic is istio.Diagnostic as it comes back from JSON: a Severity is written as a word and cannot be read.
type diagnostic struct {
	Code     string         `json:"code"`
	Severity string         `json:"severity"`
	Object   istio.Ref      `json:"object"`
	Position istio.Position `json:"position"`
	Path     string         `json:"path"`
	Message  string         `json:"message"`
	Fix      string         `json:"fix"`
}

func (c *controlPlane) diagnostics(ctx context.Context) (istio.Diagnostics, error) {
	var in []diagnostic
	if err := c.get(ctx, "/debug/diagnostics", &in); err != nil {
		return nil, err
	}
	out := make(istio.Diagnostics, len(in))
	for i, d := range in {
		out[i] = istio.Diagnostic{Code: d.Code, Object: d.Object, Position: d.Position, Path: d.Path, Message: d.Message, Fix: d.Fix}
		for _, s := range []istio.Severity{istio.Info, istio.Warning, istio.Error} {
			if s.String() == d.Severity {
				out[i].Severity = s
			}
		}
	}
	return out, nil
}

// logFile takes what a process writes, in the state directory.
func (m *mesh) logFile(name string) string { return filepath.Join(m.dir.Path, "logs", name+".log") }
