// Package cni has a Kubernetes node intercept the connections of injected pods, so that these need no privileged container. Plugin is
// a CNI plugin behind the cluster's own: in the network namespace of a pod it makes the very rules that istio-init would, by what the
// injector wrote into the pod; a pod for which it cannot does not start. Installer brings the plugin onto a node, and takes it away.
package cni

// Name is the plugin's type in CNI configurations, and its file's name; an installation with a revision has "-REVISION" behind.
const Name = "mizzen-cni"
