package localmesh

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/server"
	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
)

// A condition on this machine is looked at often at first, then less: looking takes time from those it waits for.
const (
	pollFirst = 10 * time.Millisecond
	pollLast  = 60 * time.Millisecond
)

// await calls ok until it is true. why says what is still missing, for the error when patience ends.
func await(ctx context.Context, patience time.Duration, ok func(context.Context) (done bool, why string)) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	wait := pollFirst
	tick := time.NewTimer(wait)
	defer tick.Stop()
	for {
		done, why := ok(ctx)
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("waited %s in vain: %s", patience, why)
		case <-tick.C:
			wait = min(wait*5/4, pollLast)
			tick.Reset(wait)
		}
	}
}

// awaitControlPlane waits until it has read the configuration.
func (m *mesh) awaitControlPlane(ctx context.Context) error {
	err := await(ctx, 20*time.Second, func(ctx context.Context) (bool, string) {
		w, err := m.cp.World(ctx)
		switch {
		case err != nil:
			return false, err.Error()
		case w.Generation == 0:
			return false, "it has not read the configuration"
		}
		return true, ""
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("start control plane: %w; it wrote:\n%s", err, tail(m.logFile("controlplane"), 10))
	}
	return err
}

// awaitAcknowledged waits until the control plane knows all pods and the latest applied objects, and every proxy has
// acknowledged its configuration of that or rejected a part of it, of which a diagnostic tells.
func (m *mesh) awaitAcknowledged(ctx context.Context) error {
	var generation uint64
	err := await(ctx, m.o.ReadyTimeout, func(ctx context.Context) (bool, string) {
		w, err := m.cp.World(ctx)
		if err != nil {
			return false, err.Error()
		}
		if why := m.unknown(w); why != "" {
			return false, why
		}
		generation = w.Generation
		return true, ""
	})
	if err != nil {
		return err
	}
	defer m.out.progress("")
	return await(ctx, m.o.ReadyTimeout, func(ctx context.Context) (bool, string) {
		proxies, err := m.cp.Proxies(ctx)
		if err != nil {
			return false, err.Error()
		}
		ids := m.proxyIDs()
		missing := unacknowledged(ids, proxies, generation)
		m.out.progress(fmt.Sprintf("%d of %d proxies acknowledged", len(ids)-len(missing), len(ids)))
		return len(missing) == 0, "not acknowledged by " + strings.Join(missing, ", ")
	})
}

// unknown says how the control plane's world differs from what runs; "" if it does not.
func (m *mesh) unknown(w server.Summary) string {
	var pods []string
	for _, x := range m.workloads {
		pods = append(pods, x.plan.Key())
	}
	for _, g := range m.gateways {
		pods = append(pods, g.plan.Namespace+"/"+g.plan.PodName())
	}
	for _, p := range pods {
		if !slices.Contains(w.Workloads, p) {
			return "the control plane does not know pod " + p
		}
	}
	for _, p := range w.Workloads {
		if rev, ok := overlay.IsMarker(p); ok {
			if rev != m.revision {
				return "the control plane has not read the applied objects"
			}
		} else if m.retiring[p] && !slices.Contains(pods, p) {
			return "the control plane still knows pod " + p
		}
	}
	if m.revision != "" && !slices.ContainsFunc(w.Workloads, func(p string) bool { _, ok := overlay.IsMarker(p); return ok }) {
		return "the control plane has not read the applied objects"
	}
	return ""
}

// proxyIDs are the node ids of all proxies.
func (m *mesh) proxyIDs() []string {
	var out []string
	for _, w := range m.workloads {
		if w.proxy != nil {
			out = append(out, w.proxy.id)
		}
	}
	for _, g := range m.gateways {
		if g.proxy != nil {
			out = append(out, g.proxy.id)
		}
	}
	slices.Sort(out)
	return out
}

// unacknowledged lists the proxies, by pod and namespace, that have neither acknowledged everything of the generation nor
// rejected a part of it.
func unacknowledged(ids []string, proxies []server.ProxyStatus, generation uint64) []string {
	by := map[string]server.ProxyStatus{}
	for _, p := range proxies {
		if old, ok := by[p.ID]; !ok || p.Connected.After(old.Connected) {
			by[p.ID] = p
		}
	}
	var missing []string
	for _, id := range ids {
		p, ok := by[id]
		if !ok || p.Generation < generation || !p.Synced && !rejected(p) {
			missing = append(missing, nodeName(id))
		}
	}
	return missing
}

func rejected(p server.ProxyStatus) bool {
	for _, t := range p.Types {
		if t.Error != "" || t.State == server.StateError {
			return true
		}
	}
	return false
}

// nodeName is "pod.namespace" of "sidecar~IP~pod.namespace~domain".
func nodeName(id string) string {
	if parts := strings.Split(id, "~"); len(parts) == 4 {
		return parts[2]
	}
	return id
}

// awaitReady waits until an Envoy takes traffic, or has died.
func awaitReady(ctx context.Context, p *proxy, patience time.Duration) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{MaxIdleConns: 1}}
	defer client.CloseIdleConnections()
	return await(ctx, patience, func(ctx context.Context) (bool, string) {
		if p.process.Restarts() > 0 {
			return true, ""
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/ready", nil)
		if err != nil {
			return false, err.Error()
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, "admin says " + resp.Status
	})
}

// patience with a program to listen on its first port, as a readiness probe would have.
const patience = 20 * time.Second

// awaitPrograms waits until the programs of annotation mizzen.dev/exec listen, so that nothing is sent to them too early.
// One that does not is told of, and is no reason to stop.
func (m *mesh) awaitPrograms(ctx context.Context, c *change) {
	var wg sync.WaitGroup
	for _, w := range c.newWorkloads {
		port, ok := w.plan.FirstPort()
		if w.plan.Exec == "" && w.pod == nil || !ok {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			if address := net.JoinHostPort(w.here(), strconv.Itoa(int(port))); !listens(ctx, w, address) && ctx.Err() == nil {
				m.out.say("the program of %s does not listen on %s ($MIZZEN_BIND:$PORT); what it wrote:\n%s", w.plan.Name, address,
					tail(m.logFile(w.plan.Namespace+"."+w.plan.Name+".app"), 5))
			}
		}()
	}
	wg.Wait()
}

// here is where the application listens, for who is where it is.
func (w *workload) here() string {
	if w.pod != nil {
		return localhost
	}
	return w.place().Application
}

// dial connects to the application without its sidecar.
func (w *workload) dial(ctx context.Context, address string) (net.Conn, error) {
	if w.pod != nil {
		return w.pod.Dial(ctx, address)
	}
	return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
}

// listens waits for a workload's program to listen. One that has ended twice will not: a mistake in its command line must
// not keep all others waiting.
func listens(ctx context.Context, w *workload, address string) bool {
	ended := false
	err := await(ctx, patience, func(ctx context.Context) (bool, string) {
		conn, err := w.dial(ctx, address)
		if err == nil {
			conn.Close()
			return true, ""
		}
		p, ok := w.app.(*supervisor.Process)
		ended = ok && p.Restarts() >= 2
		return ended, err.Error()
	})
	return err == nil && !ended
}
