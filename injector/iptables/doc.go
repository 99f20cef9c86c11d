// Package iptables makes the rules that lead a pod's traffic through its sidecar, the same as Istio's: what the application sends goes
// to Envoy's outbound port, what comes for it to the inbound port, and what Envoy itself sends goes its way. Rules and Text are pure;
// Apply puts them in force, by iptables-restore or by nft, in one step that leaves no moment without rules.
package iptables
