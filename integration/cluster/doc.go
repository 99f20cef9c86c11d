// Package cluster proves Mizzen in a real Kubernetes of one node (scripts/node): pods that run, whose traffic is intercepted, installed
// with `mizzen install`. `make test-cluster` runs it; without MIZZEN_CLUSTER=1 it is skipped.
package cluster
