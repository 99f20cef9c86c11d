// Package agent tests pods as they are in a cluster, without one: network namespaces, and in them the containers that mizzen kube-inject has written,
// with their arguments, variables, volumes and security contexts: the rules of mizzen iptables, mizzen proxy with a real Envoy on a root file
// system that is read-only, stand-in applications, and clients that know nothing of a mesh. Needs Linux and root; skips where parts are missing.
package agent
