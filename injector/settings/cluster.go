package settings

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
	"github.com/mizzen-mesh/mizzen/injector/inject"
)

// Cluster is where an installation's settings are: ConfigMaps istio-sidecar-injector[-R] and istio[-R] of Namespace, the objects of kind
// ProxyConfig, and the nodes, which tell whether there are native sidecars.
type Cluster struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace of the installation; Revision "" and "default" are the same.
	Namespace, Revision string
	Log                 *slog.Logger
}

var proxyConfigs = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "proxyconfigs"}

// Named is the name of an object of the installation in the revision.
func (c Cluster) Named(name string) string {
	if c.Revision == "" || c.Revision == "default" {
		return name
	}
	return name + "-" + c.Revision
}

// Webhooks are the names of the webhook configurations that lead to the revision's injector.
func (c Cluster) Webhooks() []string {
	own := c.Named("mizzen-sidecar-injector")
	if tag := c.Named("mizzen-revision-tag-default"); tag != "mizzen-revision-tag-default" {
		return []string{own, tag} // which is there with revision tag "default"
	}
	return []string{own}
}

func (c Cluster) configMaps() (injector, mesh string) {
	return c.Named("istio-sidecar-injector"), c.Named("istio")
}

// Read reads them once, for somebody who may not see all of them.
func (c Cluster) Read(ctx context.Context) (*inject.Policy, error) {
	var s state
	injector, mesh := c.configMaps()
	for name, into := range map[string]**corev1.ConfigMap{injector: &s.injector, mesh: &s.mesh} {
		m, err := c.Client.CoreV1().ConfigMaps(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !(apierrors.IsNotFound(err) && name == mesh) {
			return nil, fmt.Errorf("read ConfigMap %s/%s: %w", c.Namespace, name, err)
		}
		if err == nil {
			*into = m
		}
	}
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	switch {
	case apierrors.IsForbidden(err):
		c.Log.Warn("nodes may not be listed: the API server's version tells whether there are native sidecars")
		nodes = &corev1.NodeList{}
	case err != nil:
		return nil, fmt.Errorf("read nodes: %w", err)
	}
	for i := range nodes.Items {
		s.nodes = append(s.nodes, &nodes.Items[i])
	}
	all, err := c.Dynamic.Resource(proxyConfigs).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		c.Log.Warn("ProxyConfigs may not be listed: what they say is left out")
	} else if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("read ProxyConfigs: %w", err)
	}
	if err == nil {
		for i := range all.Items {
			s.proxyConfigs = append(s.proxyConfigs, &all.Items[i])
		}
	}
	return c.policy(s)
}

// state is what a cluster says.
type state struct {
	injector, mesh *corev1.ConfigMap // nil: there is none
	nodes          []*corev1.Node
	proxyConfigs   []*unstructured.Unstructured
}

func (c Cluster) policy(s state) (*inject.Policy, error) {
	injector, _ := c.configMaps()
	if s.injector == nil {
		return nil, fmt.Errorf("read injection settings: there is no ConfigMap %s/%s", c.Namespace, injector)
	}
	t := Texts{Config: []byte(s.injector.Data["config"]), Values: []byte(s.injector.Data["values"])}
	if s.mesh != nil {
		t.Mesh = []byte(s.mesh.Data["mesh"])
	}
	p, err := t.Policy(c.Revision)
	if err != nil {
		return nil, err
	}
	var all []effective.Resource
	for _, u := range s.proxyConfigs {
		r, err := resource(u)
		if err != nil {
			c.Log.Warn("ProxyConfig is left out", "namespace", u.GetNamespace(), "name", u.GetName(), "why", err)
			continue
		}
		all = append(all, r)
	}
	return p.With(p.Mesh, all, c.native(s.nodes)), nil
}

// Watch gives use a policy whenever one of the things that it depends on has changed, until ctx ends. What cannot be read is told by err,
// with a nil policy: the one before stays in force. It returns an error if it cannot begin.
func (c Cluster) Watch(ctx context.Context, use func(p *inject.Policy, err error)) error {
	injector, mesh := c.configMaps()
	changed := make(chan struct{}, 1)
	tell := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: tell, DeleteFunc: tell, UpdateFunc: func(_, x any) { tell(x) }}
	maps := map[string]cache.SharedIndexInformer{}
	for _, name := range []string{injector, mesh} {
		maps[name] = informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithNamespace(c.Namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
			})).Core().V1().ConfigMaps().Informer()
	}
	nodes := informers.NewSharedInformerFactory(c.Client, 0).Core().V1().Nodes().Informer()
	if err := nodes.SetTransform(slim); err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	configs := dynamicinformer.NewFilteredDynamicSharedInformerFactory(c.Dynamic, 0, metav1.NamespaceAll, nil).ForResource(proxyConfigs).Informer()
	for _, i := range []cache.SharedIndexInformer{maps[injector], maps[mesh], nodes, configs} {
		if err := i.SetWatchErrorHandlerWithContext(c.trouble); err != nil {
			return fmt.Errorf("watch injection settings: %w", err)
		}
		if _, err := i.AddEventHandler(handler); err != nil {
			return fmt.Errorf("watch injection settings: %w", err)
		}
		go i.RunWithContext(ctx)
	}
	if !cache.WaitForCacheSync(ctx.Done(), maps[injector].HasSynced, maps[mesh].HasSynced, nodes.HasSynced) || !c.ready(ctx, configs) {
		return nil // ctx has ended
	}
	for {
		s := state{injector: only(maps[injector]), mesh: only(maps[mesh])}
		for _, x := range nodes.GetStore().List() {
			s.nodes = append(s.nodes, x.(*corev1.Node))
		}
		for _, x := range configs.GetStore().List() {
			s.proxyConfigs = append(s.proxyConfigs, x.(*unstructured.Unstructured))
		}
		use(c.policy(s))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// only is the ConfigMap of an informer that watches one.
func only(i cache.SharedIndexInformer) *corev1.ConfigMap {
	for _, x := range i.GetStore().List() {
		return x.(*corev1.ConfigMap)
	}
	return nil
}

// ready waits for the ProxyConfigs, unless the cluster does not know the kind: it may come to know it later. False: ctx has ended.
func (c Cluster) ready(ctx context.Context, configs cache.SharedIndexInformer) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if configs.HasSynced() {
			return true
		}
		if _, err := c.Client.Discovery().ServerResourcesForGroupVersion(proxyConfigs.GroupVersion().String()); apierrors.IsNotFound(err) {
			return true
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return false
}

// trouble logs why a watch broke; client-go tries again.
func (c Cluster) trouble(_ context.Context, r *cache.Reflector, err error) {
	if apierrors.IsNotFound(err) {
		return // the kind is not installed
	}
	c.Log.Warn("watching is interrupted", "what", r.TypeDescription(), "why", err)
}
