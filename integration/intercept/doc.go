// Package intercept tests real Envoys as Istio's sidecars: iptables redirects what the application sends and gets, in
// network namespaces that stand for pods. Needs Linux, root, ip, iptables and setpriv; skips where they are missing.
package intercept
