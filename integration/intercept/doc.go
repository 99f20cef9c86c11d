// Package intercept tests real Envoys as Istio's sidecars, with a bootstrap as Istio's agent writes it: the rules of injector/iptables redirect what
// applications send and get, in network namespaces that stand for pods. Needs Linux and root; skips where parts are missing.
package intercept
