// Package kubeconfig finds the API server that a command is about: the flags --kubeconfig and --context, as kubectl has them, or the
// service account of the pod that the command runs in.
package kubeconfig

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Flags are what a user says of a cluster. The zero value is what kubectl would take.
type Flags struct {
	// File is a kubeconfig; "": those of KUBECONFIG, else ~/.kube/config.
	File string
	// Context in it; "" its current one.
	Context string
}

// FlagSet is what of a command's flags is needed to add some.
type FlagSet interface {
	StringVar(p *string, name, value, usage string)
}

// Add adds the flags to a command.
func (f *Flags) Add(flags FlagSet) {
	flags.StringVar(&f.File, "kubeconfig", "", "`FILE` that names the cluster; default: KUBECONFIG, or ~/.kube/config")
	flags.StringVar(&f.Context, "context", "", "`NAME` of the context in the kubeconfig; default: its current one")
}

// Given tells whether the user has named a cluster.
func (f *Flags) Given() bool { return f.File != "" || f.Context != "" }

// Config is how to reach the cluster: the user's, else the one that this process runs in.
func (f *Flags) Config() (*rest.Config, error) {
	if !f.Given() && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" && InCluster() {
		c, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("read the pod's service account: %w", err)
		}
		return c, nil
	}
	c, err := f.loader().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return c, nil
}

// Namespace is the context's, "default" if it says none.
func (f *Flags) Namespace() (string, error) {
	ns, _, err := f.loader().Namespace()
	if err != nil {
		return "", fmt.Errorf("read kubeconfig: %w", err)
	}
	return ns, nil
}

func (f *Flags) loader() clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.File
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: f.Context})
}

// InCluster tells whether this process runs in a pod that may reach its API server.
func InCluster() bool { return os.Getenv("KUBERNETES_SERVICE_HOST") != "" }
