package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
)

// envoySource is where the configuration comes from: a dump in a file, an admin address, or a workload of the local mesh or of a cluster.
type envoySource struct {
	file, admin, output string
	cluster             kubemesh.Flags
	get                 func(ctx context.Context, path string) ([]byte, error) // asks the Envoy meant; nil until it is found
}

func newProxyConfigCommand() *cobra.Command {
	src := &envoySource{}
	cmd := &cobra.Command{
		Use:     "proxy-config",
		Aliases: []string{"pc"},
		Short:   "Show what a proxy is configured with",
		Long: `Show what a proxy is configured with, in istioctl's tables. WORKLOAD is a pod of the mesh or a gateway, as NAME,
NAME.NAMESPACE or NAMESPACE/NAME; a beginning that fits one only will do; in a cluster also deployment/NAME. Instead, --file reads the
/config_dump of any Envoy ("-" is standard input), and --admin asks the Envoy at an address.

` + whichMesh,
		Example: `  mizzen proxy-config routes reviews-v1-0
  mizzen proxy-config clusters istio-ingressgateway --fqdn reviews
  mizzen proxy-config listeners deployment/reviews-v1 -n shop --context production
  curl -s http://127.1.0.7:15000/config_dump?include_eds | mizzen proxy-config all --file -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&src.file, "file", "f", "", "`FILE` with an Envoy's config dump, - for standard input")
	flags.StringVar(&src.admin, "admin", "", "admin `ADDRESS` of an Envoy")
	flags.StringVarP(&src.output, "output", "o", "", "table, short, json or yaml (default table; bootstrap: json)")
	src.cluster.Add(flags)
	src.cluster.AddNamespace(flags)
	cmd.AddCommand(newPCListeners(src), newPCClusters(src), newPCRoutes(src), newPCEndpoints(src), newPCSecrets(src), newPCBootstrap(src), newPCAll(src))
	return cmd
}

// pcCommand makes a subcommand that reads the dump and prints.
func pcCommand(src *envoySource, name, short string, aliases []string, show func(*cobra.Command, *proxyconfig.Dump, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " [WORKLOAD]", Aliases: aliases, Short: short, Args: cobra.MaximumNArgs(1),
		Example: fmt.Sprintf("  mizzen proxy-config %[1]s reviews-v1-0\n  mizzen proxy-config %[1]s --file config_dump.json -o json", name),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := src.dump(cmd.Context(), cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			return show(cmd, d, args)
		},
	}
}

// dump reads the configuration.
func (s *envoySource) dump(ctx context.Context, stdin io.Reader, args []string) (*proxyconfig.Dump, error) {
	if s.file == "-" {
		return proxyconfig.Parse(stdin)
	}
	if s.file != "" {
		f, err := os.Open(s.file)
		if err != nil {
			return nil, fmt.Errorf("read config dump: %w", err)
		}
		defer f.Close()
		return proxyconfig.Parse(f)
	}
	raw, err := s.ask(ctx, args, "/config_dump?include_eds")
	if err != nil {
		return nil, err
	}
	return proxyconfig.Parse(bytes.NewReader(raw))
}

// ask gets a page of the Envoy meant.
func (s *envoySource) ask(ctx context.Context, args []string, path string) ([]byte, error) {
	if s.get == nil {
		find := s.local
		if s.cluster.Given() && s.admin == "" {
			find = s.inCluster
		}
		get, err := find(ctx, within(args, s.cluster.Namespace))
		if err != nil {
			return nil, err
		}
		s.get = get
	}
	raw, err := s.get(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy: %w", err)
	}
	return raw, nil
}

// local finds the Envoy at an address, or in the local mesh.
func (s *envoySource) local(_ context.Context, args []string) (func(context.Context, string) ([]byte, error), error) {
	admin, err := s.address(args)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, path string) ([]byte, error) { return download(ctx, "http://"+admin+path) }, nil
}

// inCluster finds the Envoy of a pod.
func (s *envoySource) inCluster(ctx context.Context, args []string) (func(context.Context, string) ([]byte, error), error) {
	if len(args) == 0 {
		return nil, usagef("read arguments: name a WORKLOAD, or give --file or --admin")
	}
	m, err := s.cluster.Open(ctx)
	if err != nil {
		return nil, err
	}
	pod, err := m.Proxy(ctx, args[0])
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, path string) ([]byte, error) { return m.Get(ctx, pod, kubemesh.Admin, path) }, nil
}

// address is the admin address of the Envoy meant.
func (s *envoySource) address(args []string) (string, error) {
	if s.admin != "" {
		return strings.TrimPrefix(s.admin, "http://"), nil
	}
	if len(args) == 0 {
		return "", usagef("read arguments: name a WORKLOAD, or give --file or --admin")
	}
	mesh, err := findMesh()
	if err != nil {
		return "", err
	}
	type proxy struct{ name, namespace, admin string }
	var all []proxy
	for _, w := range mesh.Workloads {
		all = append(all, proxy{w.Name, w.Namespace, w.Admin})
	}
	for _, g := range mesh.Gateways {
		all = append(all, proxy{g.Pod, g.Namespace, g.Admin})
	}
	i, err := pick(args[0], "workload", all, func(p proxy) (string, string) { return p.name, p.namespace })
	if err != nil {
		return "", err
	}
	if all[i].admin == "" {
		return "", fmt.Errorf("find workload: %s.%s has no proxy", all[i].name, all[i].namespace)
	}
	return all[i].admin, nil
}

// view is what a subcommand can print: the table, a short table if it has one, and the resources.
type view struct {
	table, short func() (proxyconfig.Table, error)
	raw          func() ([]json.RawMessage, error)
}

func (s *envoySource) print(w io.Writer, v view) error {
	table := v.table
	switch s.output {
	case "json", "yaml":
		raw, err := v.raw()
		if err != nil {
			return err
		}
		if s.output == "yaml" {
			return proxyconfig.WriteYAML(w, raw)
		}
		return proxyconfig.WriteJSON(w, raw)
	case "short":
		if v.short != nil {
			table = v.short
		}
	case "", "table":
	default:
		return badOutput(s.output, "table", "short", "json", "yaml")
	}
	t, err := table()
	if err != nil {
		return err
	}
	return t.Write(w)
}

func newPCListeners(src *envoySource) *cobra.Command {
	var f proxyconfig.ListenerFilter
	cmd := pcCommand(src, "listeners", "Listeners and where they send connections", []string{"listener", "l"}, func(cmd *cobra.Command, d *proxyconfig.Dump, _ []string) error {
		for _, line := range d.Failures {
			fmt.Fprintln(cmd.ErrOrStderr(), "rejected "+line)
		}
		return src.print(cmd.OutOrStdout(), view{
			table: func() (proxyconfig.Table, error) { return d.ListenerTable(f) },
			short: func() (proxyconfig.Table, error) { return d.ShortListenerTable(f) },
			raw:   func() ([]json.RawMessage, error) { return d.ListenerJSON(f) },
		})
	})
	cmd.Flags().StringVar(&f.Address, "address", "", "only listeners at this IP address")
	cmd.Flags().IntVar(&f.Port, "port", 0, "only listeners on this port")
	cmd.Flags().StringVar(&f.Type, "type", "", "only listeners of this type: HTTP, TCP, HTTP+TCP")
	return cmd
}

func newPCClusters(src *envoySource) *cobra.Command {
	var f proxyconfig.ClusterFilter
	cmd := pcCommand(src, "clusters", "Clusters: services, ports and subsets", []string{"cluster", "c"}, func(cmd *cobra.Command, d *proxyconfig.Dump, _ []string) error {
		return src.print(cmd.OutOrStdout(), view{
			table: func() (proxyconfig.Table, error) { return d.ClusterTable(f) },
			raw:   func() ([]json.RawMessage, error) { return d.ClusterJSON(f) },
		})
	})
	cmd.Flags().StringVar(&f.FQDN, "fqdn", "", "only clusters whose service name holds this")
	cmd.Flags().StringVar(&f.Subset, "subset", "", "only clusters of this subset")
	cmd.Flags().StringVar(&f.Direction, "direction", "", "only inbound or outbound clusters")
	cmd.Flags().IntVar(&f.Port, "port", 0, "only clusters of this port")
	return cmd
}

func newPCRoutes(src *envoySource) *cobra.Command {
	var name string
	cmd := pcCommand(src, "routes", "Route tables, virtual hosts and the VirtualServices behind them", []string{"route", "r"}, func(cmd *cobra.Command, d *proxyconfig.Dump, _ []string) error {
		return src.print(cmd.OutOrStdout(), view{
			table: func() (proxyconfig.Table, error) { return d.RouteTable(name) },
			short: func() (proxyconfig.Table, error) { return d.ShortRouteTable(name) },
			raw:   func() ([]json.RawMessage, error) { return d.RouteJSON(name) },
		})
	})
	cmd.Flags().StringVar(&name, "name", "", "only the route table of this name")
	return cmd
}

func newPCEndpoints(src *envoySource) *cobra.Command {
	var f proxyconfig.EndpointFilter
	cmd := pcCommand(src, "endpoints", "Endpoints and their health", []string{"endpoint", "ep"}, func(cmd *cobra.Command, d *proxyconfig.Dump, args []string) error {
		return src.print(cmd.OutOrStdout(), view{
			table: func() (proxyconfig.Table, error) { return src.endpoints(cmd.Context(), d, args, f) },
			raw:   func() ([]json.RawMessage, error) { return d.EndpointJSON(f) },
		})
	})
	cmd.Flags().StringVar(&f.Cluster, "cluster", "", "only endpoints of this cluster")
	cmd.Flags().StringVar(&f.Address, "address", "", "only endpoints at this IP address")
	cmd.Flags().StringVar(&f.Status, "status", "", "only endpoints of this status: HEALTHY, UNHEALTHY, DRAINING")
	cmd.Flags().IntVar(&f.Port, "port", 0, "only endpoints on this port")
	return cmd
}

// endpoints asks a running Envoy, which knows what its checks found, rather than its configuration.
func (s *envoySource) endpoints(ctx context.Context, d *proxyconfig.Dump, args []string, f proxyconfig.EndpointFilter) (proxyconfig.Table, error) {
	if s.file != "" {
		return d.EndpointTable(f)
	}
	raw, err := s.ask(ctx, args, "/clusters?format=json")
	if err != nil {
		return proxyconfig.Table{}, err
	}
	return proxyconfig.LiveEndpointTable(bytes.NewReader(raw), f)
}

func newPCSecrets(src *envoySource) *cobra.Command {
	return pcCommand(src, "secrets", "Certificates and their validity", []string{"secret", "s"}, func(cmd *cobra.Command, d *proxyconfig.Dump, _ []string) error {
		return src.print(cmd.OutOrStdout(), view{
			table: func() (proxyconfig.Table, error) { return d.SecretTable(time.Now()) },
			raw:   func() ([]json.RawMessage, error) { return d.SecretJSON(), nil },
		})
	})
}

func newPCBootstrap(src *envoySource) *cobra.Command {
	return pcCommand(src, "bootstrap", "What the proxy was started with", []string{"b"}, func(cmd *cobra.Command, d *proxyconfig.Dump, _ []string) error {
		w := cmd.OutOrStdout()
		switch src.output {
		case "", "json":
			return proxyconfig.WriteJSON(w, map[string]any{"bootstrap": d.Bootstrap})
		case "yaml":
			return proxyconfig.WriteYAML(w, map[string]any{"bootstrap": d.Bootstrap})
		case "table", "short":
			v, err := d.Versions()
			if err != nil {
				return err
			}
			return v.Write(w)
		}
		return badOutput(src.output, "table", "short", "json", "yaml")
	})
}

func newPCAll(src *envoySource) *cobra.Command {
	return pcCommand(src, "all", "All of it", nil, func(cmd *cobra.Command, d *proxyconfig.Dump, args []string) error {
		w := cmd.OutOrStdout()
		switch src.output {
		case "json":
			return proxyconfig.WriteJSON(w, everythingOf(d))
		case "yaml":
			return proxyconfig.WriteYAML(w, everythingOf(d))
		case "", "table", "short":
			return src.sections(cmd.Context(), w, d, args)
		}
		return badOutput(src.output, "table", "short", "json", "yaml")
	})
}

func everythingOf(d *proxyconfig.Dump) map[string]any {
	return map[string]any{
		"bootstrap": d.Bootstrap, "clusters": d.Clusters, "listeners": d.Listeners, "routes": d.Routes,
		"secrets": d.SecretJSON(), "endpoints": d.Endpoints,
	}
}

// sections prints every table below its heading.
func (s *envoySource) sections(ctx context.Context, w io.Writer, d *proxyconfig.Dump, args []string) error {
	v, err := d.Versions()
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "------ BOOTSTRAP INFO ------")
	if err := v.Write(w); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		table func() (proxyconfig.Table, error)
	}{
		{"CLUSTER", func() (proxyconfig.Table, error) { return d.ClusterTable(proxyconfig.ClusterFilter{}) }},
		{"LISTENER", func() (proxyconfig.Table, error) { return d.ListenerTable(proxyconfig.ListenerFilter{}) }},
		{"ROUTE", func() (proxyconfig.Table, error) { return d.RouteTable("") }},
		{"SECRET", func() (proxyconfig.Table, error) { return d.SecretTable(time.Now()) }},
		{"ENDPOINTS", func() (proxyconfig.Table, error) { return s.endpoints(ctx, d, args, proxyconfig.EndpointFilter{}) }},
	} {
		t, err := part.table()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n------ %s INFO ------\n", part.name)
		if err := t.Write(w); err != nil {
			return err
		}
	}
	return nil
}
