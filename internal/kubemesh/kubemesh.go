// Package kubemesh is a mesh in a Kubernetes cluster as a user's commands meet it: its control planes' pages and its proxies' admin
// interfaces, which are asked through the API server, as `kubectl port-forward` does.
package kubemesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/mizzen-mesh/mizzen/internal/kubeconfig"
)

// Ports that are asked.
const (
	// Monitoring is where a control plane serves its pages.
	Monitoring = 15014
	// Admin is where a sidecar's Envoy has its admin interface, on its pod's loopback.
	Admin = 15000
)

// Flags are what a user says of the mesh that a command is about, named as istioctl's.
type Flags struct {
	// Access to the cluster. If it is not Given, the mesh is the local one.
	Access kubeconfig.Flags
	// Namespace of what is named without one; "": that of the kubeconfig's context.
	Namespace string
	// System is the control plane's own namespace.
	System string
	// Revision of the control plane; "": every one.
	Revision string
}

// Add adds the flags to a command.
func (f *Flags) Add(flags *pflag.FlagSet) {
	f.Access.Add(flags)
	flags.StringVarP(&f.System, "istioNamespace", "i", "istio-system", "`NAMESPACE` of the control plane in the cluster")
	flags.StringVar(&f.Revision, "revision", "", "`NAME` of the control plane among several; default: all of them")
}

// AddNamespace adds -n, for commands that do not give it another meaning.
func (f *Flags) AddNamespace(flags *pflag.FlagSet) {
	flags.StringVarP(&f.Namespace, "namespace", "n", "", "`NAMESPACE` of what is named without one; default: that of the kubeconfig's context")
}

// Given tells whether the user has named a cluster.
func (f *Flags) Given() bool { return f.Access.Given() }

// Mesh is a cluster that answers.
type Mesh struct {
	Config *rest.Config
	Client kubernetes.Interface
	// Namespace of what is named without one, System that of the control plane; Revision "": every one.
	Namespace, System, Revision string
}

// reachLimit bounds how long an API server may take to say who it is.
const reachLimit = 20 * time.Second

// Open finds the cluster and asks it for its version.
func (f *Flags) Open(ctx context.Context) (*Mesh, error) {
	config, err := f.Access.Config()
	if err != nil {
		return nil, err
	}
	m := &Mesh{Config: config, Namespace: f.Namespace, System: f.System, Revision: f.Revision}
	if m.Namespace == "" {
		if m.Namespace, err = f.Access.Namespace(); err != nil {
			return nil, err
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	m.Client = client
	ctx, stop := context.WithTimeout(ctx, reachLimit)
	defer stop()
	if _, err := client.Discovery().RESTClient().Get().AbsPath("/version").DoRaw(ctx); err != nil {
		return nil, fmt.Errorf("reach the cluster at %s: %w; is it up, and are --kubeconfig and --context its own?", config.Host, bare(err))
	}
	return m, nil
}

// bare leaves out of an HTTP client's error what was asked.
func bare(err error) error {
	if e := (&url.Error{}); errors.As(err, &e) {
		err = e.Err
	}
	if e := (&net.OpError{}); errors.As(err, &e) && e.Err != nil {
		err = e.Err
	}
	return err
}
