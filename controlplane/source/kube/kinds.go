package kube

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/mizzen-mesh/mizzen/controlplane/annotation"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// kindName is "group/Kind".
type kindName string

// following is a kind that is followed.
type following struct {
	version  string
	cancel   context.CancelFunc
	informer cache.SharedIndexInformer
}

// custom lists the kinds that CustomResourceDefinitions bring, old ones of Istio's included.
func custom() map[kindName]istio.Kind {
	out := map[kindName]istio.Kind{}
	for _, k := range istio.Known() {
		if k.Group == "mizzen.dev" || strings.HasSuffix(k.Group, ".istio.io") {
			out[kindName(k.Group+"/"+k.Name)] = k
		}
	}
	return out
}

// definition is what counts of a CustomResourceDefinition.
type definition struct {
	metav1.TypeMeta
	metav1.ObjectMeta
	kind   kindName
	served []string // versions; none until it is established
}

// version is the first of a kind's that the definition serves; "": none.
func (d *definition) version(k istio.Kind) string {
	for _, v := range k.Versions {
		if slices.Contains(d.served, v) {
			return v
		}
	}
	return ""
}

// DeepCopyObject implements runtime.Object. A definition is never changed.
func (d *definition) DeepCopyObject() runtime.Object { return d }

// definitions are the CustomResourceDefinitions of a cluster.
func definitions() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// followKinds follows the CustomResourceDefinitions, and each kind of them that Istio or Mizzen has.
func (s *source) followKinds() error {
	informer := dynamicinformer.NewFilteredDynamicInformer(s.dynamic, definitions(), metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	kinds := custom()
	note := func(obj any, there bool) {
		if lost, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = lost.Obj
		}
		d, ok := obj.(*definition)
		if !ok {
			return
		}
		k, ok := kinds[d.kind]
		if !ok || s.Kinds != nil && !slices.Contains(s.Kinds, k.Name) {
			return
		}
		version := ""
		if there {
			version = d.version(k)
		}
		s.followKind(d.kind, k, version)
	}
	_, err := s.begin(s.ctx, waiting{what: "CustomResourceDefinition"}, informer, definitionOf, cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) { note(obj, true) }, UpdateFunc: func(_, obj any) { note(obj, true) }, DeleteFunc: func(obj any) { note(obj, false) },
	})
	return err
}

// definitionOf reads a CustomResourceDefinition, of which the schema is by far the most.
func definitionOf(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	var crd struct {
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Served bool
			}
		}
		Status struct{ Conditions []metav1.Condition }
	}
	raw, err := json.Marshal(map[string]any{"spec": withoutSchemas(u.Object["spec"]), "status": u.Object["status"]})
	if err == nil {
		err = json.Unmarshal(raw, &crd)
	}
	d := &definition{ObjectMeta: metav1.ObjectMeta{Name: u.GetName(), ResourceVersion: u.GetResourceVersion()}, kind: kindName(crd.Spec.Group + "/" + crd.Spec.Names.Kind)}
	if err != nil {
		return d, nil // not one that an API server has
	}
	for _, c := range crd.Status.Conditions {
		if c.Type != "Established" || c.Status != metav1.ConditionTrue {
			continue
		}
		for _, v := range crd.Spec.Versions {
			if v.Served {
				d.served = append(d.served, v.Name)
			}
		}
	}
	return d, nil
}

// withoutSchemas is a CustomResourceDefinition's spec without what is large in it.
func withoutSchemas(spec any) map[string]any {
	m, _ := spec.(map[string]any)
	out := map[string]any{"group": m["group"], "names": m["names"]}
	versions, _ := m["versions"].([]any)
	var small []any
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok {
			small = append(small, map[string]any{"name": v["name"], "served": v["served"]})
		}
	}
	out["versions"] = small
	return out
}

// followKind follows a kind in a version, or no longer ("").
func (s *source) followKind(name kindName, k istio.Kind, version string) {
	s.mu.Lock()
	old := s.kinds[name]
	s.mu.Unlock()
	if old != nil && old.version == version || old == nil && version == "" {
		return
	}
	var next *following
	if version != "" {
		ctx, cancel := context.WithCancel(s.ctx)
		gvr := schema.GroupVersionResource{Group: k.Group, Version: version, Resource: k.Plural}
		next = &following{version, cancel, dynamicinformer.NewFilteredDynamicInformer(s.dynamic, gvr, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()}
		synced, err := s.register(ctx, k.Name, waiting{what: k.Name}, next.informer, s.entryOf)
		if err != nil { // of an informer that has begun, which this one has not
			s.Log.Error("cannot follow a kind", "kind", k.Name, "error", err)
			cancel()
			return
		}
		if old != nil {
			s.group.Go(func() error {
				if cache.WaitForCacheSync(ctx.Done(), synced) {
					s.drop(k, old, next)
				}
				return nil
			})
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds[name] = next; next == nil {
		delete(s.kinds, name)
	}
	if old != nil {
		old.cancel()
		if next == nil {
			s.group.Go(func() error { s.drop(k, old, nil); return nil })
		}
	}
}

// drop takes away the objects of a kind that is no longer followed, but for those that next has.
func (s *source) drop(k istio.Kind, old, next *following) {
	for _, obj := range old.informer.GetStore().List() {
		o, ok := obj.(metav1.Object)
		if !ok {
			continue
		}
		if next != nil {
			if _, there, err := next.informer.GetStore().Get(obj); err == nil && there {
				continue
			}
		}
		s.put(istio.Ref{Kind: k.Name, Namespace: o.GetNamespace(), Name: o.GetName()}, nil)
	}
}

// entry is an object of Istio's or Mizzen's kinds: what it came to, in the place of the tree that it came as.
type entry struct {
	metav1.TypeMeta
	metav1.ObjectMeta // name, namespace and version alone
	sum               [sha256.Size]byte
	read              *read // nil: it is of another revision
}

// DeepCopyObject implements runtime.Object. An entry is never changed.
func (e *entry) DeepCopyObject() runtime.Object { return e }

// entryOf decodes an object as it comes from the API server.
func (s *source) entryOf(obj any) (any, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return obj, nil
	}
	e := &entry{ObjectMeta: metav1.ObjectMeta{Name: u.GetName(), Namespace: u.GetNamespace(), ResourceVersion: u.GetResourceVersion()}}
	object := essence(u)
	raw, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	e.sum = sha256.Sum256(raw)
	if rev := u.GetLabels()[revisionLabel]; rev == "" || rev == s.revision() {
		e.read = &read{}
		e.read.set, e.read.diags = istio.DecodeLive(object)
	}
	return e, nil
}

// essence is an object without what the API server and its clients keep books with. Of the status a ServiceEntry's addresses count.
func essence(u *unstructured.Unstructured) map[string]any {
	m := map[string]any{"name": u.GetName()}
	if ns := u.GetNamespace(); ns != "" {
		m["namespace"] = ns
	}
	in, _ := u.Object["metadata"].(map[string]any)
	for _, k := range []string{"labels", "creationTimestamp"} {
		if v, ok := in[k]; ok {
			m[k] = v
		}
	}
	notes := map[string]any{}
	for k, v := range u.GetAnnotations() {
		if annotation.Ours(k) {
			notes[k] = v
		}
	}
	if len(notes) > 0 {
		m["annotations"] = notes
	}
	out := map[string]any{}
	for k, v := range u.Object {
		if k != "metadata" && k != "status" {
			out[k] = v
		}
	}
	out["metadata"] = m
	if status, ok := u.Object["status"].(map[string]any); ok && status["addresses"] != nil {
		out["status"] = map[string]any{"addresses": status["addresses"]}
	}
	return out
}
