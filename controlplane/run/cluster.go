package run

import "k8s.io/client-go/rest"

// Cluster is the Kubernetes cluster that a control plane is for.
type Cluster struct {
	// Config is how to reach its API server; not nil.
	Config *rest.Config
	// Namespace is the control plane's own; "" istio-system. Revision is its name among several; "" the one without.
	Namespace, Revision string
}
