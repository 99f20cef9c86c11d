// Package identity holds tests of workloads' identities and mutual TLS on real Envoys: what a client with a certificate, or
// without one, sees of a workload.
package identity
