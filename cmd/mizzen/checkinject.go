package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"

	"github.com/mizzen-mesh/mizzen/controlplane/proxyconfig"
	"github.com/mizzen-mesh/mizzen/injector/checkinject"
	"github.com/mizzen-mesh/mizzen/internal/kubemesh"
)

func newCheckInjectCommand() *cobra.Command {
	var file, output string
	var cluster kubemesh.Flags
	cmd := &cobra.Command{
		Use:   "check-inject POD | -f FILE",
		Short: "Say whether a cluster's injectors put a proxy into a pod, and why",
		Long: `Ask every injector of a cluster whether it puts a proxy into a pod, running or yet to be made, and say why or why not: the labels
of its namespace and its own, the webhooks' selectors and the injector's settings. POD is NAME, NAME.NAMESPACE, NAMESPACE/NAME or deployment/NAME.
The cluster is that of --kubeconfig and --context, by default kubectl's.`,
		Example: `  mizzen check-inject reviews-v1-5d8c.shop
  mizzen check-inject deployment/reviews-v1 -n shop
  mizzen check-inject -f shop.yaml -n shop`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (file == "") {
				return usagef("read arguments: give either a POD or -f FILE; see mizzen check-inject -h")
			}
			m, err := cluster.Open(cmd.Context())
			if err != nil {
				return err
			}
			pod, err := podToCheck(cmd.Context(), cmd, m, file, args)
			if err != nil {
				return err
			}
			dyn, err := dynamic.NewForConfig(m.Config)
			if err != nil {
				return fmt.Errorf("reach the cluster: %w", err)
			}
			found, err := checkinject.Cluster{Client: m.Client, Dynamic: dyn}.Check(cmd.Context(), pod)
			if err != nil {
				return err
			}
			return printVerdicts(cmd, found, output)
		},
	}
	cmd.Flags().StringVarP(&file, "filename", "f", "", "`FILE` with a pod or what has a template of pods, - for standard input")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cluster.Access.Add(cmd.Flags())
	cluster.AddNamespace(cmd.Flags())
	return cmd
}

func podToCheck(ctx context.Context, cmd *cobra.Command, m *kubemesh.Mesh, file string, args []string) (*corev1.Pod, error) {
	switch file {
	case "":
		return m.Pod(ctx, args[0])
	case "-":
		return checkinject.Read(cmd.InOrStdin(), m.Namespace)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	return checkinject.Read(f, m.Namespace)
}

func printVerdicts(cmd *cobra.Command, found []checkinject.Verdict, output string) error {
	w := cmd.OutOrStdout()
	switch output {
	case "json":
		return proxyconfig.WriteJSON(w, found)
	case "yaml":
		return proxyconfig.WriteYAML(w, found)
	case "table":
	default:
		return badOutput(output, "table", "json", "yaml")
	}
	if len(found) == 0 {
		return fmt.Errorf("check injection: the cluster has no injector; `mizzen install` installs one")
	}
	t := proxyconfig.Table{Header: []string{"WEBHOOK", "REVISION", "INJECTED", "REASON"}}
	for _, v := range found {
		mark := "✘"
		if v.Injected {
			mark = "✔"
		}
		t.Rows = append(t.Rows, []string{v.Webhook, v.Revision, mark, v.Reason})
	}
	return t.Write(w)
}
