package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Listed is what a cluster has at one time.
type Listed struct {
	Set   istio.Set
	Diags istio.Diagnostics
	// Unread are the kinds, and single Secrets, that the user may not read, with the API server's words.
	Unread []error
	// Secrets tells whether every Secret that a Gateway names could be looked for.
	Secrets bool
}

// List reads everything once, for `mizzen analyze`: what Watch reads, whole, and the templates of workloads. What the user may not read is
// left out and told; any other failure is an error.
func List(ctx context.Context, o Options) (*Listed, error) {
	s, err := newSource(o)
	if err != nil {
		return nil, err
	}
	l := &lister{source: s, ctx: ctx, pending: map[istio.Ref]*read{}, out: &Listed{Secrets: true}}
	for _, read := range []func(){l.core, l.templates, l.mesh, l.custom} {
		if read(); l.err != nil {
			return nil, l.err
		}
	}
	l.state.apply(l.pending)
	if l.named(); l.err != nil {
		return nil, l.err
	}
	l.out.Set, l.out.Diags = l.state.snapshot()
	return l.out, nil
}

// lister is a List that runs.
type lister struct {
	*source
	ctx     context.Context
	pending map[istio.Ref]*read
	out     *Listed
	err     error // what ended it
}

// failed notes why something could not be read, and tells whether there is nothing to go on with.
func (l *lister) failed(what string, err error) bool {
	switch {
	case err == nil:
		return false
	case apierrors.IsForbidden(err):
		l.out.Unread = append(l.out.Unread, fmt.Errorf("list %s: %w", what, err))
	case !apierrors.IsNotFound(err):
		l.err = fmt.Errorf("list %s: %w", what, err)
	}
	return true
}

// take notes the objects of a list.
func take[T any, P interface {
	*T
	metav1.Object
}](l *lister, kind string, items []T, err error) {
	if l.err != nil || l.failed(kind+"s", err) {
		return
	}
	for i := range items {
		o := P(&items[i])
		r := &read{}
		r.set, r.diags = istio.LiveObject(o)
		l.pending[istio.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}] = r
	}
}

// core reads Kubernetes' kinds.
func (l *lister) core() {
	c, all := l.client.CoreV1(), metav1.ListOptions{}
	services, err := c.Services("").List(l.ctx, all)
	take(l, "Service", services.Items, err)
	ends, err := l.client.DiscoveryV1().EndpointSlices("").List(l.ctx, all)
	take(l, "EndpointSlice", ends.Items, err)
	pods, err := c.Pods("").List(l.ctx, alive())
	take(l, "Pod", pods.Items, err)
	namespaces, err := c.Namespaces().List(l.ctx, all)
	take(l, "Namespace", namespaces.Items, err)
	nodes, err := c.Nodes().List(l.ctx, all)
	take(l, "Node", nodes.Items, err)
}

// templates reads what pods are made of: a workload without any counts, too.
func (l *lister) templates() {
	a, all := l.client.AppsV1(), metav1.ListOptions{}
	deployments, err := a.Deployments("").List(l.ctx, all)
	take(l, "Deployment", deployments.Items, err)
	sets, err := a.StatefulSets("").List(l.ctx, all)
	take(l, "StatefulSet", sets.Items, err)
	daemons, err := a.DaemonSets("").List(l.ctx, all)
	take(l, "DaemonSet", daemons.Items, err)
}

// mesh reads the MeshConfig.
func (l *lister) mesh() {
	name := MeshConfigMap(l.Revision)
	m, err := l.client.CoreV1().ConfigMaps(l.Namespace).Get(l.ctx, name, metav1.GetOptions{})
	if l.failed("ConfigMap "+l.Namespace+"/"+name, err) {
		return
	}
	if r := l.decode("ConfigMap", m); r != nil {
		l.pending[istio.Ref{Kind: "ConfigMap", Namespace: m.Namespace, Name: m.Name}] = r
	}
}

// custom reads the kinds of Istio and Mizzen that the cluster has.
func (l *lister) custom() {
	all, err := l.dynamic.Resource(definitions()).List(l.ctx, metav1.ListOptions{})
	if l.failed("CustomResourceDefinitions", err) {
		return
	}
	kinds := custom()
	for i := range all.Items {
		of, err := definitionOf(&all.Items[i])
		d, ok := of.(*definition)
		if err != nil || !ok {
			continue
		}
		if k, ok := kinds[d.kind]; ok && d.version(k) != "" && l.err == nil {
			l.kind(k, d.version(k))
		}
	}
}

func (l *lister) kind(k istio.Kind, version string) {
	gvr := schema.GroupVersionResource{Group: k.Group, Version: version, Resource: k.Plural}
	objects, err := l.dynamic.Resource(gvr).List(l.ctx, metav1.ListOptions{})
	if l.failed(k.Plural+"."+k.Group, err) {
		return
	}
	for i := range objects.Items {
		l.object(k, &objects.Items[i])
	}
}

func (l *lister) object(k istio.Kind, u *unstructured.Unstructured) {
	of, err := l.entryOf(u)
	if l.failed(k.Name+" "+u.GetNamespace()+"/"+u.GetName(), err) {
		return
	}
	if e, ok := of.(*entry); ok && e.read != nil {
		l.pending[istio.Ref{Kind: k.Name, Namespace: u.GetNamespace(), Name: u.GetName()}] = e.read
	}
}

// named reads the Secrets that other objects name.
func (l *lister) named() {
	s := secrets{}
	s.names(l.state.set)
	s.gateways(l.state.set)
	in := map[string][]istio.Ref{}
	for ref := range s.wanted() {
		if !strings.Contains(ref.Name, "/") { // else no name that a Secret can have
			in[ref.Namespace] = append(in[ref.Namespace], ref)
		}
	}
	pending := map[istio.Ref]*read{}
	for _, ns := range slices.Sorted(maps.Keys(in)) {
		refs := l.there(ns, in[ns])
		slices.SortFunc(refs, istio.Ref.Compare)
		for _, ref := range refs {
			if l.secret(ref, pending); l.err != nil {
				return
			}
		}
	}
	l.state.apply(pending)
}

// few is how many Secrets of a namespace are asked for without a look at which there are.
const few = 10

// there are those of many Secrets of a namespace that it has, as far as the user may see: any that one gateway names is looked for where
// any other is, and an API server lets a client ask a hundred times a second.
func (l *lister) there(namespace string, refs []istio.Ref) []istio.Ref {
	if len(refs) <= few {
		return refs
	}
	all, err := l.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(namespace).List(l.ctx, metav1.ListOptions{})
	if err != nil { // each of them will say why, or be read
		return refs
	}
	names := map[string]bool{}
	for i := range all.Items {
		names[all.Items[i].Name] = true
	}
	return slices.DeleteFunc(refs, func(r istio.Ref) bool { return !names[r.Name] })
}

// secret reads one.
func (l *lister) secret(ref istio.Ref, pending map[istio.Ref]*read) {
	secret, err := l.client.CoreV1().Secrets(ref.Namespace).Get(l.ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsForbidden(err) {
		l.out.Secrets = false
	}
	if l.failed("Secret "+ref.Namespace+"/"+ref.Name, err) {
		return
	}
	r := &read{}
	r.set, r.diags = istio.LiveObject(secret)
	pending[ref] = r
}
