package webhookcert

import (
	"bytes"
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// announce puts the bundle into every configuration.
func (k *Keeper) announce(ctx context.Context, bundle []byte) error {
	set := func(c *admissionv1.WebhookClientConfig) (changed bool) {
		changed = !bytes.Equal(c.CABundle, bundle)
		c.CABundle = bundle
		return changed
	}
	for _, name := range k.o.Mutating {
		if err := k.mutating(ctx, name, set); err != nil {
			return err
		}
	}
	for _, name := range k.o.Validating {
		err := k.validating(ctx, name, func(w *admissionv1.ValidatingWebhook) bool { return set(&w.ClientConfig) })
		if err != nil {
			return err
		}
	}
	return nil
}

// failClosed makes the validating webhooks refuse what they cannot check, once they are known to serve.
func (k *Keeper) failClosed(ctx context.Context) error {
	if k.o.FailClosed == nil {
		return nil
	}
	fail := admissionv1.Fail
	for _, name := range k.o.Validating {
		open, err := k.isOpen(ctx, name)
		if err != nil {
			return err
		}
		if !open {
			continue
		}
		if err := k.o.FailClosed(ctx); err != nil {
			return fmt.Errorf("webhook %s is not reached yet: %w", name, err)
		}
		err = k.validating(ctx, name, func(w *admissionv1.ValidatingWebhook) bool {
			changed := w.FailurePolicy == nil || *w.FailurePolicy != fail
			w.FailurePolicy = &fail
			return changed
		})
		if err != nil {
			return err
		}
		k.o.Log.Info("webhook serves: from now on objects that it cannot check are refused", "configuration", name)
	}
	return nil
}

func (k *Keeper) isOpen(ctx context.Context, name string) (bool, error) {
	c, err := k.o.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read ValidatingWebhookConfiguration %s: %w", name, err)
	}
	for _, w := range c.Webhooks {
		if w.FailurePolicy != nil && *w.FailurePolicy == admissionv1.Ignore {
			return true, nil
		}
	}
	return false, nil
}

// mutating changes the webhooks of a configuration. A conflict is an error like others: the whole pass is done again.
func (k *Keeper) mutating(ctx context.Context, name string, set func(*admissionv1.WebhookClientConfig) bool) error {
	api := k.o.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	c, err := api.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read MutatingWebhookConfiguration %s: %w", name, err)
	}
	changed := false
	for i := range c.Webhooks {
		changed = set(&c.Webhooks[i].ClientConfig) || changed
	}
	if !changed {
		return nil
	}
	if _, err := api.Update(ctx, c, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write MutatingWebhookConfiguration %s: %w", name, err)
	}
	k.announced()
	return nil
}

func (k *Keeper) announced() {
	if k.o.Announced != nil {
		k.o.Announced()
	}
}

// validating is the same for the other kind.
func (k *Keeper) validating(ctx context.Context, name string, set func(*admissionv1.ValidatingWebhook) bool) error {
	api := k.o.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	c, err := api.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read ValidatingWebhookConfiguration %s: %w", name, err)
	}
	changed := false
	for i := range c.Webhooks {
		changed = set(&c.Webhooks[i]) || changed
	}
	if !changed {
		return nil
	}
	if _, err := api.Update(ctx, c, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write ValidatingWebhookConfiguration %s: %w", name, err)
	}
	return nil
}

// watch tells of every change of the Secret and the configurations. A place that is taken already has somebody's news.
func (k *Keeper) watch(ctx context.Context, changed chan<- struct{}) (stop func(), err error) {
	tell := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { tell() }, UpdateFunc: func(_, _ any) { tell() }, DeleteFunc: func(any) { tell() },
	}
	named := func(namespace, name string) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(k.o.Client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}))
	}
	ctx, cancel := context.WithCancel(ctx)
	var all []informers.SharedInformerFactory
	stop = func() {
		cancel()
		for _, f := range all {
			f.Shutdown()
		}
	}
	add := func(f informers.SharedInformerFactory, i cache.SharedIndexInformer) {
		all = append(all, f)
		if _, addErr := i.AddEventHandler(handler); addErr != nil {
			err = fmt.Errorf("watch webhook configurations: %w", addErr)
		}
		f.Start(ctx.Done())
	}
	f := named(k.o.Namespace, k.o.Secret)
	add(f, f.Core().V1().Secrets().Informer())
	for _, name := range k.o.Mutating {
		f := named("", name)
		add(f, f.Admissionregistration().V1().MutatingWebhookConfigurations().Informer())
	}
	for _, name := range k.o.Validating {
		f := named("", name)
		add(f, f.Admissionregistration().V1().ValidatingWebhookConfigurations().Informer())
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
