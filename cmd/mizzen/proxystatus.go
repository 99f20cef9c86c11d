package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
)

func newProxyStatusCommand() *cobra.Command {
	var control, output string
	var cluster kubemesh.Flags
	cmd := &cobra.Command{
		Use:     "proxy-status [WORKLOAD]",
		Aliases: []string{"ps"},
		Short:   "Show how each proxy stands with the control plane",
		Long: `Show, for each proxy and resource type, whether it has acknowledged what the control plane wants it to have:
SYNCED, STALE (sent and not acknowledged, or waiting for something else), NOT SENT (not asked for, or nothing to send),
ERROR (rejected; the last good configuration stays). Below the table stand the objects that a proxy goes without, since Envoy refused what they
made and the proxy had nothing older. With a WORKLOAD, tell about that one and what it rejected.

` + whichMesh + ` There, every replica of the control plane is asked for the proxies that are connected to it.`,
		Example: `  mizzen proxy-status
  mizzen proxy-status reviews-v1-0.default
  mizzen proxy-status --context production`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var proxies []proxy
			var err error
			switch {
			case control != "" && cluster.Given():
				return usagef("read arguments: --control-plane and a cluster (--kubeconfig, --context) exclude each other")
			case cluster.Given():
				proxies, err = clusterProxies(cmd, &cluster)
			default:
				proxies, err = localProxies(cmd.Context(), control)
			}
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), proxies, output, within(args, cluster.Namespace))
		},
	}
	cmd.Flags().StringVar(&control, "control-plane", "", "monitoring `ADDRESS` of the control plane (default: the local mesh's)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, short, json or yaml")
	cluster.Add(cmd.Flags())
	cluster.AddNamespace(cmd.Flags())
	return cmd
}

// whichMesh tells of the flags that name a cluster.
const whichMesh = "The mesh is the local one, or that of a Kubernetes cluster with --kubeconfig or --context, which is asked through its API server."

// proxy is one that is connected.
type proxy struct {
	proxyconfig.ProxyState
	raw json.RawMessage
}

// localProxies asks the control plane at an address, "" the local mesh's.
func localProxies(ctx context.Context, control string) ([]proxy, error) {
	if control == "" {
		s, err := findMesh()
		if err != nil {
			return nil, err
		}
		control = s.ControlPlane.HTTP
	}
	if !strings.Contains(control, "://") {
		control = "http://" + control
	}
	raw, err := download(ctx, control+"/debug/syncz")
	if err != nil {
		return nil, fmt.Errorf("ask the control plane: %w", err)
	}
	// As istioctl names the control plane's pod, we say where it is.
	return readProxies(raw, strings.TrimPrefix(control, "http://"))
}

// clusterProxies asks every replica of the cluster's control plane. One that does not answer is told of on stderr.
func clusterProxies(cmd *cobra.Command, cluster *kubemesh.Flags) ([]proxy, error) {
	m, err := cluster.Open(cmd.Context())
	if err != nil {
		return nil, err
	}
	answers, silent, err := m.Ask(cmd.Context(), "/debug/syncz")
	if err != nil {
		return nil, err
	}
	for _, e := range silent {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", e)
	}
	var out []proxy
	for _, a := range answers {
		proxies, err := readProxies(a.Body, a.Pod)
		if err != nil {
			return nil, err
		}
		out = append(out, proxies...)
	}
	return out, nil
}

// readProxies reads what /debug/syncz of a control plane said.
func readProxies(raw []byte, control string) ([]proxy, error) {
	var whole []json.RawMessage
	if err := json.Unmarshal(raw, &whole); err != nil {
		return nil, fmt.Errorf("read proxy status: %w", err)
	}
	out := make([]proxy, len(whole))
	for i, r := range whole {
		if err := json.Unmarshal(r, &out[i].ProxyState); err != nil {
			return nil, fmt.Errorf("read proxy status: %w", err)
		}
		out[i].ControlPlane, out[i].raw = control, r
	}
	return out, nil
}

// within adds a namespace to the name of a workload that says none.
func within(names []string, namespace string) []string {
	if len(names) == 0 || namespace == "" {
		return names
	}
	if _, _, own := kubemesh.Name(names[0]); own != "" {
		return names
	}
	return []string{names[0] + "." + namespace}
}

// printStatus prints what is known of all proxies, or of the named one.
func printStatus(w io.Writer, proxies []proxy, output string, names []string) error {
	if len(names) > 0 {
		i, err := pick(names[0], "connected proxy", proxies, func(p proxy) (string, string) {
			_, name, namespace := kubemesh.Name(p.Proxy)
			return name, namespace
		})
		if err != nil {
			return err
		}
		proxies = proxies[i : i+1]
	}
	states, whole := make([]proxyconfig.ProxyState, len(proxies)), make([]json.RawMessage, len(proxies))
	for i, p := range proxies {
		states[i], whole[i] = p.ProxyState, p.raw
	}
	switch {
	case output == "json":
		return proxyconfig.WriteJSON(w, whole)
	case output == "yaml":
		return proxyconfig.WriteYAML(w, whole)
	case output == "short":
		return proxyconfig.ShortStatusTable(states).Write(w)
	case output != "table":
		return badOutput(output, "table", "short", "json", "yaml")
	case len(names) > 0:
		return printOne(w, states[0])
	}
	if err := proxyconfig.StatusTable(states).Write(w); err != nil {
		return err
	}
	for _, p := range states {
		if err := printWithout(w, p); err != nil {
			return err
		}
	}
	return nil
}

// printWithout tells what a proxy goes without: Envoy refused what it made.
func printWithout(w io.Writer, p proxyconfig.ProxyState) error {
	for _, o := range p.Without {
		if _, err := fmt.Fprintf(w, "%s goes without %s\n", p.Proxy, o); err != nil {
			return fmt.Errorf("print status: %w", err)
		}
	}
	return nil
}

// printOne tells about one proxy as `istioctl proxy-status POD` does.
func printOne(w io.Writer, p proxyconfig.ProxyState) error {
	for _, k := range []struct{ key, noun string }{
		{"cds", "Clusters"}, {"eds", "Endpoints"}, {"lds", "Listeners"}, {"rds", "Routes"}, {"vhds", "Virtual hosts"},
	} {
		t, ok := p.Types[k.key]
		line := fmt.Sprintf("%s Match (%d)", k.noun, t.Resources)
		switch {
		case !ok:
			continue
		case t.State == "NOT SENT":
			line = k.noun + " Not Sent"
		case t.Error != "":
			line = fmt.Sprintf("%s Don't Match: rejected: %s", k.noun, t.Error)
		case t.State != "SYNCED":
			line = fmt.Sprintf("%s Don't Match: %s", k.noun, t.State)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return fmt.Errorf("print status: %w", err)
		}
	}
	return printWithout(w, p)
}

// pick finds the one item that a user's name means: NAME, NAME.NAMESPACE or NAMESPACE/NAME, as istioctl takes them also after
// "pod/" or "deploy/"; a beginning of NAME does where it fits one only.
func pick[T any](name, what string, items []T, of func(T) (name, namespace string)) (int, error) {
	_, short, within := kubemesh.Name(name)
	var begins []int
	var known []string
	for i, x := range items {
		n, ns := of(x)
		here := within == "" || within == ns
		if here && short == n {
			return i, nil
		}
		if here && strings.HasPrefix(n, short) {
			begins = append(begins, i)
		}
		known = append(known, n+"."+ns)
	}
	switch len(begins) {
	case 1:
		return begins[0], nil
	case 0:
		return 0, fmt.Errorf("find %s: none is named %q; there are: %s", what, name, strings.Join(known, ", "))
	}
	var fit []string
	for _, i := range begins {
		fit = append(fit, known[i])
	}
	return 0, fmt.Errorf("find %s: %q begins several: %s", what, name, strings.Join(fit, ", "))
}

// download gets a page of an Envoy or a control plane.
func download(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// Straight, whatever proxy the environment names: under `mizzen up -- COMMAND` it may be a sidecar.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
