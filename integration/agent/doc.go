// Package agent tests pods as they are in a cluster, without one: network namespaces with the rules of mizzen iptables, mizzen proxy with a
// real Envoy, stand-in applications, and clients that know nothing of a mesh. Needs Linux and root; skips where parts are missing.
package agent
