package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func newProxyStatusCommand() *cobra.Command {
	var control, output string
	cmd := &cobra.Command{
		Use:     "proxy-status [WORKLOAD]",
		Aliases: []string{"ps"},
		Short:   "Show how each proxy stands with the control plane",
		Long: `Show, for each proxy and resource type, whether it has acknowledged what the control plane wants it to have:
SYNCED, STALE (sent and not acknowledged, or waiting for something else), NOT SENT (not asked for, or nothing to send),
ERROR (rejected; the last good configuration stays). Below the table stand the objects that a proxy goes without, since Envoy refused what they
made and the proxy had nothing older. With a WORKLOAD, tell about that one and what it rejected.`,
		Example: `  mizzen proxy-status
  mizzen proxy-status reviews-v1-0.default`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if control == "" {
				s, err := state.Find(os.Getenv("MIZZEN_STATE"))
				if err != nil {
					return err
				}
				control = s.ControlPlane.HTTP
			}
			if !strings.Contains(control, "://") {
				control = "http://" + control
			}
			raw, err := download(cmd.Context(), control+"/debug/syncz")
			if err != nil {
				return fmt.Errorf("ask the control plane: %w", err)
			}
			return printStatus(cmd.OutOrStdout(), raw, control, output, args)
		},
	}
	cmd.Flags().StringVar(&control, "control-plane", "", "monitoring `ADDRESS` of the control plane (default: the local mesh's)")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, short, json or yaml")
	return cmd
}

// printStatus prints what /debug/syncz said, of all proxies or of the named one.
func printStatus(w io.Writer, raw []byte, control, output string, names []string) error {
	var proxies []proxyconfig.ProxyState
	var whole []json.RawMessage
	if err := json.Unmarshal(raw, &proxies); err != nil {
		return fmt.Errorf("read proxy status: %w", err)
	}
	if err := json.Unmarshal(raw, &whole); err != nil {
		return fmt.Errorf("read proxy status: %w", err)
	}
	if len(names) > 0 {
		i, err := pick(names[0], "connected proxy", proxies, func(p proxyconfig.ProxyState) (string, string) {
			name, namespace, _ := strings.Cut(p.Proxy, ".")
			return name, namespace
		})
		if err != nil {
			return err
		}
		proxies, whole = proxies[i:i+1], whole[i:i+1]
	}
	// As istioctl names the control plane's pod, we say where it is.
	control = strings.TrimPrefix(control, "http://")
	switch {
	case output == "json":
		return proxyconfig.WriteJSON(w, whole)
	case output == "yaml":
		return proxyconfig.WriteYAML(w, whole)
	case output == "short":
		return proxyconfig.ShortStatusTable(proxies, control).Write(w)
	case output != "table":
		return badOutput(output, "table", "short", "json", "yaml")
	case len(names) > 0:
		return printOne(w, proxies[0])
	}
	if err := proxyconfig.StatusTable(proxies, control).Write(w); err != nil {
		return err
	}
	for _, p := range proxies {
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
	short, within := splitName(name)
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

// splitName takes a user's name of a proxy apart. namespace is "" if it says none.
func splitName(s string) (name, namespace string) {
	for _, kind := range []string{"pod/", "deploy/", "deployment/"} {
		if rest, ok := strings.CutPrefix(s, kind); ok {
			s = rest
		}
	}
	if namespace, name, ok := strings.Cut(s, "/"); ok {
		return name, namespace
	}
	name, namespace, _ = strings.Cut(s, ".")
	return name, namespace
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
