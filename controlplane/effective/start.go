package effective

import (
	"cmp"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	meshconfig "istio.io/api/mesh/v1alpha1"
)

// Start is what a ProxyConfig says of the start of an Envoy. What it says of Envoy's configuration is the control plane's.
type Start struct {
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

// DefaultStart is Istio's.
func DefaultStart() Start {
	return Start{Drain: 45 * time.Second, TerminationDrain: 5 * time.Second, FlushInterval: time.Second}
}

// StartOf is what c, which may be nil, says over defaults of the proxy of a pod.
func StartOf(c *meshconfig.ProxyConfig, pod Pod, defaults Start) Start {
	s := defaults
	s.MeshID, s.Runtime, s.Statsd, s.Cluster = cmp.Or(c.GetMeshId(), s.MeshID), c.GetRuntimeValues(), c.GetStatsdUdpAddress(), cluster(c, pod)
	s.Drain, s.TerminationDrain = span(c.GetDrainDuration(), s.Drain), span(c.GetTerminationDrainDuration(), s.TerminationDrain)
	s.FlushInterval, s.FlushKilobytes = span(c.GetFileFlushInterval(), s.FlushInterval), c.GetFileFlushMinSizeKb()
	s.MaxConnections = uint32(max(c.GetConnectionSettings().GetGlobalDownstreamConnectionLimit().GetValue(), 0))
	s.Hold = c.GetHoldApplicationUntilProxyStarts().GetValue()
	if n := c.GetConcurrency(); n != nil {
		s.Workers = int(max(n.GetValue(), 0))
	}
	s.Metadata, s.Env = Metadata(c)
	return s
}

// cluster is the node's cluster, as Istio names it; "" where nothing is said.
func cluster(c *meshconfig.ProxyConfig, pod Pod) string {
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

// Args are the flags of Envoy that it comes to.
func (s Start) Args() []string {
	drain := max(int(s.Drain/time.Second), 1)
	args := []string{
		// What was under way when a listener changed has this time to end; connections take leave with their next answer.
		"--drain-time-s", fmt.Sprint(drain), "--drain-strategy", "immediate", "--parent-shutdown-time-s", fmt.Sprint(drain + 15),
		"--file-flush-interval-msec", fmt.Sprint(max(s.FlushInterval.Milliseconds(), 1)),
	}
	if s.Workers > 0 { // else one for each core
		args = append(args, "--concurrency", fmt.Sprint(s.Workers))
	}
	if s.FlushKilobytes > 0 {
		args = append(args, "--file-flush-min-size-kb", fmt.Sprint(s.FlushKilobytes))
	}
	return args
}
