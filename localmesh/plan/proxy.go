package plan

import (
	"cmp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
)

// Proxy is what a pod's ProxyConfig says of the start of its Envoy: see effective.ProxyConfig. Another one means another Envoy.
type Proxy struct {
	Workers  int    // threads; 0: one for each core
	Cluster  string // the node's; "": the service's name and namespace
	MeshID   string
	Metadata map[string]string // of the node, beside what every proxy has
	Env      []string          // NAME=value, sorted
	Runtime  map[string]string // Envoy's runtime
	Statsd   string            // "host:port" that gets statistics over UDP; "": nobody
	// Drain is how long Envoy takes to end connections of a listener that has changed, and TerminationDrain how long requests
	// may go on when the proxy is to end.
	Drain, TerminationDrain time.Duration
	FlushInterval           time.Duration // of what is written to files
	FlushKilobytes          uint32        // 0: Envoy's 64
	MaxConnections          uint32        // of all listeners; 0: no limit
	Hold                    bool          // the application starts when the proxy takes traffic
}

// Defaults of a local mesh: a machine that runs dozens of Envoys gives each one thread, and a person who has just sent a request
// looks at its log.
const (
	defaultWorkers = 1
	defaultMeshID  = "cluster.local"
	defaultDrain   = 45 * time.Second // as in Istio
	defaultEnd     = 5 * time.Second
	defaultFlush   = 500 * time.Millisecond
)

// proxy merges what is said of a pod's proxy. Of a mistake in the pod's annotation, which then does not count, its reader has told.
func (b *builder) proxy(pod effective.Pod) Proxy {
	root, defaults := gatewayNamespace, (*meshconfig.ProxyConfig)(nil)
	if o := b.set.Mesh; o != nil {
		root, defaults = cmp.Or(o.Spec.GetRootNamespace(), root), o.Spec.GetDefaultConfig()
	}
	var all []effective.Resource
	for _, o := range b.set.ProxyConfigs {
		all = append(all, effective.Resource{Namespace: o.Namespace, Name: o.Name, Created: o.CreationTimestamp, Spec: o.Spec})
	}
	merged, _ := effective.ProxyConfig(defaults, root, all, pod)
	return proxyOf(merged, pod)
}

func proxyOf(c *meshconfig.ProxyConfig, pod effective.Pod) Proxy {
	p := Proxy{
		Workers: defaultWorkers, MeshID: cmp.Or(c.GetMeshId(), defaultMeshID), Runtime: c.GetRuntimeValues(), Statsd: c.GetStatsdUdpAddress(),
		Cluster: cluster(c, pod), Drain: span(c.GetDrainDuration(), defaultDrain), TerminationDrain: span(c.GetTerminationDrainDuration(), defaultEnd),
		FlushInterval: span(c.GetFileFlushInterval(), defaultFlush), FlushKilobytes: c.GetFileFlushMinSizeKb(),
		MaxConnections: uint32(max(c.GetConnectionSettings().GetGlobalDownstreamConnectionLimit().GetValue(), 0)),
		Hold:           c.GetHoldApplicationUntilProxyStarts().GetValue(),
	}
	if n := c.GetConcurrency(); n != nil {
		p.Workers = int(max(n.GetValue(), 0))
	}
	p.Metadata, p.Env = effective.Metadata(c)
	return p
}

// cluster is the node's cluster, as Istio names it; "" where nothing is said.
func cluster(c *meshconfig.ProxyConfig, pod effective.Pod) string {
	name := cmp.Or(pod.Labels["service.istio.io/canonical-name"], pod.Labels["app.kubernetes.io/name"], pod.Labels["app"])
	switch n := c.GetClusterName().(type) {
	case *meshconfig.ProxyConfig_ServiceCluster:
		return n.ServiceCluster
	case *meshconfig.ProxyConfig_TracingServiceName_:
		switch {
		case name == "" || n.TracingServiceName == meshconfig.ProxyConfig_APP_LABEL_AND_NAMESPACE:
			return ""
		case n.TracingServiceName == meshconfig.ProxyConfig_CANONICAL_NAME_ONLY:
			return name
		}
		return name + "." + pod.Namespace
	}
	return ""
}

func span(d *durationpb.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.AsDuration()
}
