// Package kubeinject puts the sidecar into the pod templates of manifests: `mizzen kube-inject`. What it does not change leaves it byte
// for byte as it came.
package kubeinject
