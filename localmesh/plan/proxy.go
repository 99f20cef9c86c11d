package plan

import (
	"cmp"
	"time"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
)

// Proxy is what a pod's ProxyConfig says of the start of its Envoy: see effective.ProxyConfig. Another one means another Envoy.
type Proxy = effective.Start

// defaults of a local mesh: a machine that runs dozens of Envoys gives each one thread, and a person who has just sent a request
// looks at its log.
func defaults() Proxy {
	d := effective.DefaultStart()
	d.Workers, d.MeshID, d.FlushInterval = 1, "cluster.local", 500*time.Millisecond
	return d
}

// proxy merges what is said of a pod's proxy. Of a mistake in the pod's annotation, which then does not count, its reader has told.
func (b *builder) proxy(pod effective.Pod) Proxy {
	root, mesh := gatewayNamespace, (*meshconfig.ProxyConfig)(nil)
	if o := b.set.Mesh; o != nil {
		root, mesh = cmp.Or(o.Spec.GetRootNamespace(), root), o.Spec.GetDefaultConfig()
	}
	var all []effective.Resource
	for _, o := range b.set.ProxyConfigs {
		all = append(all, effective.Resource{Namespace: o.Namespace, Name: o.Name, Created: o.CreationTimestamp, Spec: o.Spec})
	}
	merged, _ := effective.ProxyConfig(mesh, root, all, pod)
	return effective.StartOf(merged, pod, defaults())
}
