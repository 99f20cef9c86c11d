package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/run"
	"github.com/mizzen-mesh/mizzen/internal/kubeconfig"
)

// clusterFlags name the cluster that a control plane is for.
type clusterFlags struct {
	access              kubeconfig.Flags
	namespace, revision string
	webhook             run.Webhook
}

// clusterFlagNames are those that clusterFlags.add adds.
func clusterFlagNames() []string {
	return []string{"kubeconfig", "context", "namespace", "revision", "webhook-addr", "webhook-names", "webhook-open"}
}

func (c *clusterFlags) add(cmd *cobra.Command) {
	c.access.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.namespace, "namespace", "istio-system", "the control plane's own `NAMESPACE` in the cluster")
	cmd.Flags().StringVar(&c.revision, "revision", "", "`NAME` among several control planes: objects labelled istio.io/rev for another one are not read")
	cmd.Flags().StringVar(&c.webhook.Addr, "webhook-addr", "", "where the validating webhook listens in a cluster, with TLS; default: nowhere")
	cmd.Flags().StringSliceVar(&c.webhook.Names, "webhook-names", nil, "`NAMES` of its certificate beside its Service's")
	cmd.Flags().BoolVar(&c.webhook.Open, "webhook-open", false, "leave failurePolicy alone; else Ignore becomes Fail when the API server reaches the webhook")
}

// of is the cluster of the flags; nil if files are to be read.
func (c *clusterFlags) of(paths []string) (*run.Cluster, error) {
	switch {
	case len(paths) > 0 && c.access.Given():
		return nil, usagef("read --config: configuration comes from files or from a cluster (--kubeconfig, --context), not both")
	case len(paths) > 0:
		return nil, nil
	case !c.access.Given() && !kubeconfig.InCluster():
		return nil, errors.New("read configuration: no --config PATH was given, and no cluster: --kubeconfig FILE")
	}
	config, err := c.access.Config()
	if err != nil {
		return nil, err
	}
	out := &run.Cluster{Config: config, Namespace: c.namespace, Revision: c.revision}
	if c.webhook.Addr != "" {
		out.Webhook = &c.webhook
	}
	return out, nil
}
