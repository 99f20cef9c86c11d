package localmesh

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	cpmesh "github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/localmesh/plan"
	"github.com/mizzen-mesh/mizzen/localmesh/podnet"
)

// proxy is an Envoy that runs.
type proxy struct {
	id       string // node id
	admin    string // address
	process  *supervisor.Process
	identity *identity     // nil: none
	patience time.Duration // with requests that are under way when it is to end
}

func (p *proxy) stop() {
	p.process.Stop()
	if p.identity != nil {
		p.identity.stop()
	}
}

// drain waits a while until no request is under way any more. Nobody sends new ones: no proxy has the endpoint by now. It
// looks thrice, since the workers of other proxies learn of that a moment after they have acknowledged it.
func (p *proxy) drain(ctx context.Context) {
	if p == nil {
		return
	}
	idle := 0
	_ = await(ctx, p.patience, func(ctx context.Context) (bool, string) {
		if n, err := p.active(ctx); err != nil || n == 0 {
			idle++
		} else {
			idle = 0
		}
		return idle == 3, "requests are under way"
	})
}

// active counts the requests under way, those to the administration page excepted.
func (p *proxy) active(ctx context.Context) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/stats?format=json&filter=downstream_rq_active$", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var s struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"stats"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return 0, err
	}
	n := 0
	for _, x := range s.Stats {
		if !strings.HasPrefix(x.Name, "http.admin.") {
			n += x.Value
		}
	}
	return n, nil
}

// initialising is how long an Envoy may hold others back that wait to start.
const initialising = 5 * time.Second

// startSidecar starts a workload's proxy and waits until it takes traffic.
func (m *mesh) startSidecar(ctx context.Context, w *workload) error {
	at := w.place()
	metadata := m.metadata(w.plan.Name, w.plan.Namespace, w.plan.Labels, w.plan.Annotations, w.plan.Service(), w.plan.Proxy)
	metadata["SERVICE_ACCOUNT"] = w.plan.ServiceAccount()
	if w.pod != nil {
		metadata["INTERCEPTION_MODE"] = "REDIRECT"
	} else {
		metadata["INTERCEPTION_MODE"] = "NONE"
		metadata["HTTP_PROXY_PORT"] = fmt.Sprint(portProxy)
		metadata["MIZZEN_APP_ADDRESS"] = at.Application
	}
	node := nodeID("sidecar", at.PodIP, w.plan.Name, w.plan.Namespace)
	if err := m.followNames(w, node); err != nil {
		return err
	}
	id, err := m.ids.start(ctx, m, w.plan.Name, w.plan.Namespace, w.plan.ServiceAccount())
	if err != nil {
		return err
	}
	w.anonymous = id == nil
	err = m.startProxy(ctx, &w.proxy, id, w.plan.Proxy, w.pod, bootstrap.Options{
		NodeID:       node,
		Cluster:      cmp.Or(w.plan.Proxy.Cluster, w.plan.Service()+"."+w.plan.Namespace),
		Metadata:     metadata,
		AdminAddress: w.pair.Sidecar, AdminPort: portAdmin,
	})
	if err != nil || w.app != nil {
		return err
	}
	return m.startApplication(w) // it was held until now
}

// startGatewayProxy starts a gateway and waits until it takes traffic.
func (m *mesh) startGatewayProxy(ctx context.Context, g *gateway) error {
	metadata := m.metadata(g.plan.PodName(), g.plan.Namespace, g.plan.Labels, g.plan.Annotations, g.plan.Name, g.plan.Proxy)
	if g.pod == nil {
		metadata["MIZZEN_BIND_ADDRESS"] = g.address
	}
	metadata["SERVICE_ACCOUNT"] = g.plan.ServiceAccount()
	ports := map[string]uint32{}
	for server, bound := range g.ports {
		ports[fmt.Sprint(server)] = bound
	}
	metadata["MIZZEN_PORTS"] = ports
	id, err := m.ids.start(ctx, m, g.plan.PodName(), g.plan.Namespace, g.plan.ServiceAccount())
	if err != nil {
		return err
	}
	return m.startProxy(ctx, &g.proxy, id, g.plan.Proxy, g.pod, bootstrap.Options{
		NodeID:       nodeID("router", g.podIP(), g.plan.PodName(), g.plan.Namespace),
		Cluster:      cmp.Or(g.plan.Proxy.Cluster, g.plan.Name+"."+g.plan.Namespace),
		Metadata:     metadata,
		AdminAddress: g.address, AdminPort: g.admin,
	})
}

func nodeID(kind, ip, pod, namespace string) string {
	return strings.Join([]string{kind, ip, pod + "." + namespace, namespace + ".svc.cluster.local"}, "~")
}

// localhostName is in the control plane's own certificate.
const localhostName = "localhost"

// filters is what runs the policies in a proxy: what its pod says, else what the mesh is to have, as far as it is there.
func (m *mesh) filters(annotations map[string]string) cpmesh.FilterHost {
	want := cmp.Or(cpmesh.FilterHost(annotations[plan.AnnotationFilters]), m.o.Filters, cpmesh.HostModule)
	if want == cpmesh.HostModule && m.module == "" || want == cpmesh.HostWasm && m.wasm == "" || want == cpmesh.HostGolang { // which a stock Envoy does not have
		return cpmesh.HostNative
	}
	return want
}

// metadata is what Istio's agent would send of a pod.
func (m *mesh) metadata(pod, namespace string, labels, annotations map[string]string, workload string, p plan.Proxy) map[string]any {
	out := map[string]any{
		"NAME": pod, "NAMESPACE": namespace, "LABELS": labels, "WORKLOAD_NAME": workload,
		"CLUSTER_ID": "Kubernetes", "MESH_ID": p.MeshID, "ISTIO_VERSION": "mizzen",
	}
	for name, value := range p.Metadata {
		out[name] = value
	}
	out["MIZZEN_MODULES"] = m.modules()
	host := m.filters(annotations)
	out["MIZZEN_FILTERS"] = string(host)
	if host == cpmesh.HostWasm {
		out["MIZZEN_WASM"] = m.wasm
	}
	return out
}

// startProxy writes the bootstrap and starts an Envoy with it. into is set as soon as the process exists, so that close
// stops it whatever happens next. pod is where it runs; nil: on the machine. o.AdminAddress is the machine's in either case.
func (m *mesh) startProxy(ctx context.Context, into **proxy, id *identity, p plan.Proxy, pod *podnet.Pod, o bootstrap.Options) (err error) {
	defer func() {
		if *into == nil && id != nil {
			id.stop()
		}
	}()
	if id != nil {
		o.SDSSocket, o.Metadata["MIZZEN_SDS"] = id.socket, bootstrap.SDSCluster
	}
	select {
	case m.starting <- struct{}{}:
		defer func() { <-m.starting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	o.XDSAddress = m.cp.XDS
	if id != nil { // it can say who it is, and is given what its identity may have
		o.XDSAddress, o.XDSServerName = m.cp.Secure, localhostName
	}
	o.XDSAddress = m.reach(o.XDSAddress)
	admin := net.JoinHostPort(o.AdminAddress, fmt.Sprint(o.AdminPort))
	o.Metadata["MIZZEN_ADMIN"] = admin
	if pod != nil {
		o.AdminAddress = localhost // which is made reachable at the machine's address
	}
	o.Runtime, o.Statsd, o.MaxConnections = p.Runtime, p.Statsd, p.MaxConnections
	if o.Metadata["MIZZEN_FILTERS"] == string(cpmesh.HostWasm) {
		o.StatsTags = bootstrap.WasmTags()
	}
	raw, err := bootstrap.Config(o)
	if err != nil {
		return err
	}
	name := nodeName(o.NodeID)
	file := filepath.Join(m.dir.Path, "envoy", plan.FileName(name)+".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return fmt.Errorf("write bootstrap of %s: %w", name, err)
	}
	log := m.logFile(name)
	command := supervisor.Command{
		Name: "envoy " + name, Path: m.envoy, Env: append(m.envoyEnv(), p.Env...), Output: log,
		Args: append([]string{"-c", file, "--use-dynamic-base-id", "-l", "warning"}, p.Args()...),
	}
	if pod != nil {
		command.Namespace, command.Group = pod.Namespace, proxyGroup
	}
	process, err := supervisor.Start(command, m.o.Log)
	if err != nil {
		return err
	}
	*into = &proxy{id: o.NodeID, identity: id, patience: p.TerminationDrain, admin: admin, process: process}
	err = awaitReady(ctx, *into, initialising)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case process.Restarts() > 0:
		return fmt.Errorf("start envoy %s: it ends at once; it wrote:\n%s", name, tail(log, 10))
	case err != nil: // awaitAcknowledged goes on waiting
		m.o.Log.Debug("envoy is slow to take traffic", "name", name, "error", err)
	}
	return nil
}

// envoyEnv adds where the dynamic module is. A Go module within Envoy must not check cgo pointers: see the architecture.
func (m *mesh) envoyEnv() []string {
	env := append([]string{}, m.o.Env...)
	if m.module != "" {
		env = append(env, "ENVOY_DYNAMIC_MODULES_SEARCH_PATH="+filepath.Dir(m.module), "GODEBUG=cgocheck=0")
	}
	return env
}

// tail returns the last lines of a log, for an error message.
func tail(file string, lines int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "(nothing)"
	}
	all := strings.Split(strings.TrimRight(string(raw), "\n"), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}
