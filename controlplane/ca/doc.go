// Package ca is the mesh's certificate authority: it signs what workloads show each other, X.509 certificates with a SPIFFE
// identity (an "SVID"), over the certificate API of Istio (istio.v1.auth.IstioCertificateService). The identity in a certificate
// is that of the authenticated caller; what the request asks for is never looked at, beside its public key.
//
// The signing key comes from files, named as in Istio's Secret cacerts, or is made and kept in a directory of its own, and
// then rotated with an overlap in which old and new roots are both trusted.
package ca
