package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/graph"
)

// adminMetadata is where a proxy of the local mesh says that its administration page is, host:port.
const adminMetadata = "MIZZEN_ADMIN"

// calls draws who calls whom. Nil in a cluster: there a proxy's administration page is for its own pod.
func (p *publisher) calls(o Options) func(context.Context, string) ([]byte, error) {
	if o.Cluster != nil {
		return nil
	}
	live := &graph.Live{Proxies: p.askable, Workloads: p.callers, Now: time.Now}
	return func(ctx context.Context, format string) ([]byte, error) {
		g, _ := live.Graph(ctx) // a proxy that does not answer is one that ends
		if format == "json" {
			return json.MarshalIndent(g, "", "  ")
		}
		if len(g.Nodes) == 0 {
			return nil, nil
		}
		var b bytes.Buffer
		err := g.SVG(&b)
		return b.Bytes(), err
	}
}

// callers are all workloads, and the gateways that are connected.
func (p *publisher) callers() []graph.Workload {
	var out []graph.Workload
	if w := p.server.World(); w != nil {
		for _, x := range w.Workloads {
			out = append(out, graph.Workload{Name: x.Name, Namespace: x.Namespace, Labels: x.Labels, Addresses: []string{x.Address}})
		}
	}
	for _, n := range p.server.Nodes() {
		out = append(out, callerOf(n)) // of the same name it says what it is
	}
	return out
}

func callerOf(n mesh.Node) graph.Workload {
	return graph.Workload{Name: n.Name, Namespace: n.Namespace, Labels: n.Labels, Addresses: []string{n.IP}, Gateway: n.Gateway}
}

// askable are the connected proxies that say where they can be asked: on this machine, for nobody is to have the control plane ask elsewhere.
func (p *publisher) askable() []graph.Proxy {
	var out []graph.Proxy
	for _, n := range p.server.Nodes() {
		at, err := netip.ParseAddrPort(n.Metadata[adminMetadata])
		if err != nil || !at.Addr().IsLoopback() {
			continue
		}
		out = append(out, graph.Proxy{Workload: callerOf(n), Get: func(ctx context.Context, path string) ([]byte, error) {
			return get(ctx, "http://"+at.String()+path)
		}})
	}
	return out
}

// get asks on this machine, whatever proxy the environment names.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	return body, nil
}
