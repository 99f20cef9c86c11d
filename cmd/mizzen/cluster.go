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
}

// clusterFlagNames are those that clusterFlags.add adds.
func clusterFlagNames() []string { return []string{"kubeconfig", "context", "namespace", "revision"} }

func (c *clusterFlags) add(cmd *cobra.Command) {
	c.access.Add(cmd.Flags())
	cmd.Flags().StringVar(&c.namespace, "namespace", "istio-system", "the control plane's own `NAMESPACE` in the cluster")
	cmd.Flags().StringVar(&c.revision, "revision", "", "`NAME` among several control planes: objects labelled istio.io/rev for another one are not read")
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
	return &run.Cluster{Config: config, Namespace: c.namespace, Revision: c.revision}, nil
}
