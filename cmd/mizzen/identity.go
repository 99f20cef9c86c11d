package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/run"
)

// identityFlags are those that addIdentityFlags adds.
func identityFlags() []string {
	return []string{"ca-dir", "ca-files", "secure-addr", "secure-names", "trust-domain", "token-keys", "cert-ttl", "max-cert-ttl", "root-ttl"}
}

// addIdentityFlags adds the flags of the certificate authority.
func addIdentityFlags(cmd *cobra.Command, id *run.Identity) {
	f := cmd.Flags()
	f.StringVar(&id.Dir, "ca-dir", "", "be a certificate authority that makes its own roots and keeps them in `DIR`")
	f.StringVar(&id.Files, "ca-files", "", "be a certificate authority with ca-cert.pem, ca-key.pem, root-cert.pem and cert-chain.pem of `DIR`, read again when they change")
	f.StringVar(&id.Addr, "secure-addr", "127.0.0.1:15012", "where workloads get certificates, and proxies configuration, with TLS; needs --ca-dir or --ca-files")
	f.StringSliceVar(&id.Names, "secure-names", []string{"istiod.istio-system.svc", "localhost", "127.0.0.1"}, "`NAMES` in the certificate of --secure-addr")
	f.StringVar(&id.TrustDomain, "trust-domain", "", "of the identities that are signed; default: MeshConfig's in a cluster, else cluster.local")
	f.StringVar(&id.TokenKeys, "token-keys", "", "PEM `FILE` of the public keys that sign service account tokens; without it workloads need a certificate to get one")
	f.DurationVar(&id.TTL, "cert-ttl", 24*time.Hour, "how long a workload's certificate lives if it asks for nothing else")
	f.DurationVar(&id.MaxTTL, "max-cert-ttl", 90*24*time.Hour, "the longest that a workload may ask for; a new root signs this long after it is trusted")
	f.DurationVar(&id.RootTTL, "root-ttl", 10*365*24*time.Hour, "how long a root of --ca-dir lives; the next is made when a fifth of it is left")
}

// identityOf checks the flags; nil if there is to be no authority. In a cluster there is always one.
func identityOf(id run.Identity, cluster *run.Cluster) (*run.Identity, error) {
	switch {
	case cluster != nil && (id.Dir != "" || id.Files != "" || id.TokenKeys != ""):
		return nil, usagef("read --ca-dir, --ca-files, --token-keys: in a cluster the authority is in Secret cacerts or mizzen-ca-secret, and the API server knows tokens")
	case cluster == nil && id.Dir == "" && id.Files == "":
		return nil, nil
	case id.Dir != "" && id.Files != "":
		return nil, usagef("read --ca-files: an authority has its own roots (--ca-dir) or somebody else's (--ca-files), not both")
	case id.TTL > id.MaxTTL:
		return nil, usagef("read --cert-ttl: %s is longer than --max-cert-ttl, %s", id.TTL, id.MaxTTL)
	}
	id.Cluster = cluster
	return &id, nil
}
