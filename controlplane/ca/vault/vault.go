// Package vault keeps a control plane's certificate authority in a Secret of its cluster, where all replicas find it.
package vault

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
)

// Names of the Secrets: Given is an authority that somebody else keeps, as Istio has it, with the entries ca-cert.pem, ca-key.pem,
// root-cert.pem and cert-chain.pem; Made is the one that control planes make while Given is not there. Where both are, or one comes in the
// place of the other, the roots overlap: see ca.Renew.
const (
	Given = "cacerts"
	Made  = "mizzen-ca-secret"
)

// Vault is where an authority is kept. Not safe for concurrent use.
type Vault struct {
	client    kubernetes.Interface
	namespace string
	given     *ca.Given // as it was read last; nil never
	authority *ca.Authority
}

// Open opens the authority of a namespace, and makes one if there is none: of several replicas that do so at once the API server lets
// one win.
func Open(ctx context.Context, client kubernetes.Interface, namespace string, o ca.Options) (*Vault, error) {
	authority, err := ca.Shared(o)
	if err != nil {
		return nil, err
	}
	v := &Vault{client: client, namespace: namespace, authority: authority}
	return v, v.Keep(ctx)
}

// Authority is what signs.
func (v *Vault) Authority() *ca.Authority { return v.authority }

// Timeout bounds what Keep asks of the API server.
const Timeout = 10 * time.Second

// Keep takes up what has become of the Secrets, and does what is due. On an error the authority goes on with what it has.
func (v *Vault) Keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	s, err := v.read(ctx, Given)
	if err != nil {
		return err
	}
	if s != nil {
		given, err := v.authority.ReadGiven(s.Data)
		if err != nil {
			return fmt.Errorf("use Secret %s/%s: %w", v.namespace, Given, err)
		}
		v.given = given
	}
	return v.keep(ctx, s != nil)
}

// attempts bounds how often another writer may be first.
const attempts = 10

// keep does what is due with Secret Made; there tells whether Given is.
func (v *Vault) keep(ctx context.Context, there bool) error {
	for range attempts {
		s, err := v.read(ctx, Made)
		if err != nil {
			return err
		}
		var kept ca.Material
		if s != nil {
			kept = s.Data
		}
		next, changed, err := v.authority.Renew(kept, v.given, there)
		if err != nil {
			return fmt.Errorf("use Secret %s/%s: %w", v.namespace, Made, err)
		}
		if changed {
			next, err = v.write(ctx, s, next)
		}
		if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
			continue // another replica was first
		}
		if err != nil {
			return fmt.Errorf("write Secret %s/%s: %w", v.namespace, Made, err)
		}
		return v.authority.Adopt(next, v.given)
	}
	return fmt.Errorf("write Secret %s/%s: somebody else writes it all the time", v.namespace, Made)
}

// read returns nil if there is no such Secret.
func (v *Vault) read(ctx context.Context, name string) (*corev1.Secret, error) {
	s, err := v.client.CoreV1().Secrets(v.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %s/%s: %w", v.namespace, name, err)
	}
	return s, nil
}

// write puts the material into the Secret that was read (nil: none), unless it is another one by now.
func (v *Vault) write(ctx context.Context, old *corev1.Secret, m ca.Material) (ca.Material, error) {
	secrets := v.client.CoreV1().Secrets(v.namespace)
	if old == nil {
		_, err := secrets.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: Made, Namespace: v.namespace, Labels: map[string]string{"app.kubernetes.io/part-of": "mizzen"}},
			Data:       m,
		}, metav1.CreateOptions{})
		return m, err
	}
	next := old.DeepCopy()
	next.Data = maps.Clone(m)
	_, err := secrets.Update(ctx, next, metav1.UpdateOptions{})
	return m, err
}
