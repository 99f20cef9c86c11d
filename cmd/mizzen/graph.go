package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/internal/graph"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func newGraphCommand() *cobra.Command {
	var output string
	var window time.Duration
	var cluster kubemesh.Flags
	cmd := &cobra.Command{
		Use:   "graph",
		Short: "Show who calls whom, how often, and how well",
		Long: `Show the live service graph: which version of which application calls which other one, at which rate, with which share of failures,
in which time (P50, P95), and whether by mutual TLS. The callers' proxies are asked twice, a window apart: what they count for each endpoint needs no metrics to be on.
A request that a proxy answers itself (a fault, a rate limit, no healthy host) is on no edge; each attempt of a retry is.

` + whichMesh + ` With -n, only calls from that namespace.`,
		Example: `  mizzen graph
  mizzen graph -o svg > mesh.svg
  mizzen graph -o dot --window 10s | dot -Tpng > mesh.png
  mizzen graph --context production -n shop -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch output {
			case "table", "dot", "svg", "json":
			default:
				return badOutput(output, "table", "dot", "svg", "json")
			}
			if window < 0 {
				return usagef("read --window: %s is negative", window)
			}
			look := localGraph
			if cluster.Given() {
				look = clusterGraph
			}
			proxies, workloads, err := look(cmd.Context(), &cluster)
			if err != nil {
				return err
			}
			if len(proxies) == 0 {
				return errors.New("find proxies: there are none")
			}
			return printGraph(cmd, proxies, workloads, window, output)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, dot, svg or json")
	cmd.Flags().DurationVar(&window, "window", 2*time.Second, "how long requests are counted for rates; 0: only what there was so far")
	cluster.Add(cmd.Flags())
	cmd.Flags().StringVarP(&cluster.Namespace, "namespace", "n", "", "only calls from this `NAMESPACE`; default: from all")
	return cmd
}

// printGraph looks twice, and prints what happened in between.
func printGraph(cmd *cobra.Command, proxies []graph.Proxy, workloads []graph.Workload, window time.Duration, output string) error {
	var before graph.Sample
	if window > 0 {
		before, _ = graph.Look(cmd.Context(), proxies, time.Now)
		select {
		case <-time.After(window):
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		}
	}
	after, silent := graph.Look(cmd.Context(), proxies, time.Now)
	if len(silent) == len(proxies) {
		return silent[0]
	}
	for _, err := range silent {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", err)
	}
	g, w := graph.Of(workloads, before, after), cmd.OutOrStdout()
	switch output {
	case "dot":
		return g.DOT(w)
	case "svg":
		return g.SVG(w)
	case "json":
		return proxyconfig.WriteJSON(w, g)
	}
	if len(g.Edges) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "nobody has called anybody yet; send a request: mizzen call -n 20 URL")
	}
	return g.Table(w)
}

// localGraph finds the proxies of the local mesh.
func localGraph(_ context.Context, of *kubemesh.Flags) (proxies []graph.Proxy, workloads []graph.Workload, err error) {
	s, err := findMesh()
	if err != nil {
		return nil, nil, err
	}
	add := func(w graph.Workload, admin string) {
		workloads = append(workloads, w)
		if admin != "" && (of.Namespace == "" || of.Namespace == w.Namespace) {
			proxies = append(proxies, graph.Proxy{Workload: w, Get: func(ctx context.Context, path string) ([]byte, error) {
				return download(ctx, "http://"+admin+path)
			}})
		}
	}
	for _, w := range s.Workloads {
		add(graph.Workload{Name: w.Name, Namespace: w.Namespace, Labels: w.Labels, Addresses: []string{w.Address}}, w.Admin)
	}
	for _, g := range s.Gateways {
		add(localGateway(g), g.Admin)
	}
	return proxies, workloads, nil
}

func localGateway(g state.Gateway) graph.Workload {
	return graph.Workload{Name: g.Pod, Namespace: g.Namespace, Labels: g.Labels, Addresses: []string{g.Address}, Gateway: true}
}

// clusterGraph finds the pods with a proxy that run in a cluster.
func clusterGraph(ctx context.Context, of *kubemesh.Flags) (proxies []graph.Proxy, workloads []graph.Workload, err error) {
	m, err := of.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	list, err := m.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list pods: %w", err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if p.Status.Phase != corev1.PodRunning || p.Spec.HostNetwork {
			continue
		}
		w := graph.Workload{
			Name: p.Name, Namespace: p.Namespace, Labels: p.Labels,
			Gateway: strings.Contains(p.Annotations["inject.istio.io/templates"], "gateway"),
		}
		for _, ip := range p.Status.PodIPs {
			w.Addresses = append(w.Addresses, ip.IP)
		}
		workloads = append(workloads, w)
		if kubemesh.HasProxy(p) && (of.Namespace == "" || of.Namespace == p.Namespace) {
			proxies = append(proxies, graph.Proxy{Workload: w, Get: func(ctx context.Context, path string) ([]byte, error) {
				return m.Get(ctx, p, kubemesh.Admin, path)
			}})
		}
	}
	return proxies, workloads, nil
}
