package main

import (
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
)

func newCACommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ca",
		Short:   "Make what proves a workload's identity where no Kubernetes does",
		Example: "  mizzen ca token --ca-dir ca default/default=secrets",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCATokenCommand())
	return cmd
}

func newCATokenCommand() *cobra.Command {
	var dir, domain string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "token --ca-dir DIR NAMESPACE/ACCOUNT=TO...",
		Short: "Write a service account's token and the trusted roots, as a pod finds them in /var/run/secrets",
		Long: `Write a service account's token into TO/tokens/istio-token, and the trusted roots into TO/istio/root-cert.pem: what the sidecars of that
account show to get their certificates, and by which they know the control plane. In a pod the two lie below /var/run/secrets.

The authority in DIR is made if it is not there, and so is the key that signs the tokens. The control plane is to have both:
mizzen controlplane --ca-dir DIR --token-keys DIR/token-keys.pem. Whoever can read a token is that account to the mesh.`,
		Example: `  mizzen ca token --ca-dir ca default/default=secrets
  mizzen ca token --ca-dir ca --ttl 24h shop/cart=cart shop/till=till`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			a, err := ca.SelfMade(dir, ca.Options{TrustDomain: domain})
			if err != nil {
				return err
			}
			key, err := ca.TokenKey(dir)
			if err != nil {
				return err
			}
			for _, arg := range args {
				if err := writeSecrets(a, key, arg, ttl); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "ca-dir", "", "`DIR` of the authority, as of mizzen controlplane")
	cmd.Flags().StringVar(&domain, "trust-domain", "cluster.local", "of the identities that are signed")
	cmd.Flags().DurationVar(&ttl, "ttl", 365*24*time.Hour, "how long the tokens are good")
	_ = cmd.MarkFlagRequired("ca-dir")
	return cmd
}

// writeSecrets does what "NAMESPACE/ACCOUNT=TO" says.
func writeSecrets(a *ca.Authority, key crypto.Signer, arg string, ttl time.Duration) error {
	who, to, found := strings.Cut(arg, "=")
	namespace, account, two := strings.Cut(who, "/")
	if !found || !two || to == "" {
		return usagef("read arguments: %q is not NAMESPACE/ACCOUNT=TO", arg)
	}
	if err := (ca.Identity{TrustDomain: a.TrustDomain(), Namespace: namespace, ServiceAccount: account}).Validate(); err != nil {
		return usagef("read arguments: %q: %w", arg, err)
	}
	token, err := ca.Token(key, namespace, account, time.Now(), ttl)
	if err != nil {
		return err
	}
	for file, content := range map[string]string{"tokens/istio-token": token, "istio/" + ca.RootFile: a.Roots()} {
		file = filepath.Join(to, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("write secrets: %w", err)
		}
		// Readable to all: the directory is given to the account's own proxies, which run as another user.
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			return fmt.Errorf("write secrets: %w", err)
		}
	}
	return nil
}
