// Package istio reads configuration: Istio's and Mizzen's own resources and the few Kubernetes ones that a mesh needs,
// each with the file and line it came from. Strict: an unknown field is a diagnostic, never silence.
package istio

import (
	"fmt"
	"time"

	extensions "istio.io/api/extensions/v1alpha1"
	meshconfig "istio.io/api/mesh/v1alpha1"
	networking "istio.io/api/networking/v1alpha3"
	networkingv1beta1 "istio.io/api/networking/v1beta1"
	security "istio.io/api/security/v1beta1"
	telemetry "istio.io/api/telemetry/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Position is a place in a file. Line and Column are 1-based; 0 is unknown.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String formats as "file:line:column", leaving out what is unknown.
func (p Position) String() string {
	switch {
	case p.File == "" && p.Line == 0:
		return ""
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Ref names an object.
type Ref struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
}

// String formats as "Kind namespace/name".
func (r Ref) String() string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Meta is an object's metadata and where it was read.
type Meta struct {
	APIVersion        string
	Ref               // Namespace is never empty for namespaced kinds: "default" is filled in
	Labels            map[string]string
	Annotations       map[string]string
	CreationTimestamp time.Time // zero if unknown (files)
	Position          Position  // of the document's first line
	// Places maps a field path ("spec.http[0].match[1].uri") to where its key (or list item) stands. Nil if unknown.
	Places map[string]Position
	// Raw is the object as JSON, as the user wrote it: what `mizzen get -o yaml` prints.
	Raw []byte
	// From are the legacy objects that a Converter made this one of; nil: the user wrote it.
	From []Ref
}

// At returns the position of path, or of its nearest ancestor that has one, or of the document.
func (m *Meta) At(path string) Position {
	for p := path; p != ""; p = parentPath(p) {
		if pos, ok := m.Places[p]; ok {
			return pos
		}
	}
	return m.Position
}

func parentPath(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '.' || p[i] == '[' {
			return p[:i]
		}
	}
	return ""
}

// Object is one decoded object of any kind: Spec is Istio's own API type, or the whole Kubernetes object.
type Object[T any] struct {
	Meta
	Spec T
}

// Set is everything that was read, each list sorted by namespace, then name; no two objects of a kind share both.
type Set struct {
	VirtualServices  []*Object[*networking.VirtualService]
	DestinationRules []*Object[*networking.DestinationRule]
	Gateways         []*Object[*networking.Gateway]
	ServiceEntries   []*Object[*networking.ServiceEntry]
	WorkloadEntries  []*Object[*networking.WorkloadEntry]
	Sidecars         []*Object[*networking.Sidecar]
	RateLimits       []*Object[*RateLimit]
	Telemetries      []*Object[*telemetry.Telemetry]
	EnvoyFilters     []*Object[*networking.EnvoyFilter]

	WasmPlugins       []*Object[*extensions.WasmPlugin]
	TrafficExtensions []*Object[*extensions.TrafficExtension]

	PeerAuthentications []*Object[*security.PeerAuthentication]
	// ProxyConfigs act when a proxy is started: see package effective.
	ProxyConfigs []*Object[*networkingv1beta1.ProxyConfig]

	AuthorizationPolicies  []*Object[*security.AuthorizationPolicy]
	RequestAuthentications []*Object[*security.RequestAuthentication]

	Services       []*Object[*corev1.Service]
	Pods           []*Object[*corev1.Pod]
	WorkloadGroups []*Object[*networking.WorkloadGroup]
	Nodes          []*Object[*corev1.Node] // only their labels count
	Endpoints      []*Object[*corev1.Endpoints]
	EndpointSlices []*Object[*discoveryv1.EndpointSlice]
	Namespaces     []*Object[*corev1.Namespace]
	Secrets        []*Object[*corev1.Secret]
	// Workloads are Deployments, StatefulSets (and ReplicaSets, DaemonSets), reduced to what they have in common.
	Workloads []*Object[*WorkloadTemplate]
	// Mesh is the MeshConfig: from ConfigMap istio in istio-system (data.mesh), nil if none.
	Mesh *Object[*meshconfig.MeshConfig]
	// Legacy are objects of kinds that Istio removed; see Converter.
	Legacy []*Object[*Legacy]
	// Others are recognised kinds that are kept but mean nothing here (ServiceAccount, ConfigMap...).
	Others []*Meta
}

// WorkloadTemplate is a Deployment or StatefulSet: a pod template and a count.
type WorkloadTemplate struct {
	Kind     string // Deployment, StatefulSet...
	Replicas int    // default 1
	Template corev1.PodTemplateSpec
}

// RateLimit is Mizzen's own kind, mizzen.dev/v1alpha1: what Istio's API lacks.
type RateLimit struct {
	// Selector picks workloads (or gateways) by label, in the namespace (everywhere from the root namespace).
	Selector *RateLimitSelector `json:"selector,omitempty"`
	// TargetRefs name Services, ServiceEntries or Gateways of the same namespace, as AuthorizationPolicy's do.
	TargetRefs []TargetRef     `json:"targetRefs,omitempty"`
	Limits     []RateLimitRule `json:"limits"`
}

// RateLimitSelector is Istio's WorkloadSelector.
type RateLimitSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

// TargetRef is Istio's PolicyTargetReference.
type TargetRef struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

// RateLimitRule is one limit. Match is VirtualService's own HTTPMatchRequest.
type RateLimitRule struct {
	Name     string                         `json:"name,omitempty"` // default: its index
	Match    []*networking.HTTPMatchRequest `json:"-"`              // JSON "match", decoded by istio.Decode
	Key      []RateLimitKey                 `json:"key,omitempty"`
	Requests uint32                         `json:"requests,omitempty"`
	Per      string                         `json:"per,omitempty"` // Go duration, or second, minute, hour, day
	Burst    uint32                         `json:"burst,omitempty"`
	// HitsAddend is what a request costs; nil: 1.
	HitsAddend *RateLimitHits `json:"hitsAddend,omitempty"`
	// Algorithm is gcra (default), tokenBucket or slidingWindow.
	Algorithm string `json:"algorithm,omitempty"`
	// Concurrency limits requests in progress, instead of Requests and Per.
	Concurrency uint32 `json:"concurrency,omitempty"`
	// Scope is local (default), shared (divided among the proxies) or global (counted by the rate-limit service).
	Scope  string `json:"scope,omitempty"`
	Action string `json:"action,omitempty"` // enforce (default), shadow
	// FailureMode of a global limit while the service is away: local (default), allow or deny.
	FailureMode string              `json:"failureMode,omitempty"`
	Overrides   []RateLimitOverride `json:"overrides,omitempty"`
	Status      uint32              `json:"status,omitempty"` // of a refusal; default 429
	// Enabled and Enforced are percentages, at most four decimals; default 100.
	Enabled  *float64 `json:"enabled,omitempty"`
	Enforced *float64 `json:"enforced,omitempty"`
	MaxKeys  uint32   `json:"maxKeys,omitempty"` // remembered by a proxy; default 65536
	Headers  string   `json:"headers,omitempty"` // draft03 (default), off
}

// RateLimitHits is what a request costs: Number, or what Header says, at most Max; 1 where it says nothing.
type RateLimitHits struct {
	Number uint32 `json:"number,omitempty"`
	Header string `json:"header,omitempty"`
	Max    uint32 `json:"max,omitempty"`
}

// RateLimitOverride gives some keys their own numbers; "*" is any value of a part.
type RateLimitOverride struct {
	Key      []string `json:"key"`
	Requests uint32   `json:"requests"`
	Per      string   `json:"per"`
	Burst    uint32   `json:"burst,omitempty"`
	Action   string   `json:"action,omitempty"`
}

// RateLimitKey is one part of the key; exactly one is set.
type RateLimitKey struct {
	Header        string `json:"header,omitempty"`
	Cookie        string `json:"cookie,omitempty"`
	Query         string `json:"query,omitempty"`
	Path          bool   `json:"path,omitempty"`
	Method        bool   `json:"method,omitempty"`
	SourceAddress bool   `json:"sourceAddress,omitempty"`
	Route         bool   `json:"route,omitempty"`
	TraceID       bool   `json:"traceId,omitempty"`
	Literal       string `json:"literal,omitempty"`
	// IPv4Prefix and IPv6Prefix, with SourceAddress, take the network of so many bits instead of the address; 0: all.
	IPv4Prefix uint32 `json:"ipv4Prefix,omitempty"`
	IPv6Prefix uint32 `json:"ipv6Prefix,omitempty"`
}
