package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Config is key "config" of an installation's ConfigMap istio-sidecar-injector: who is injected, and by which templates. Istio's names.
type Config struct {
	// Policy "disabled" injects only what asks for it; "" or "enabled" all in a namespace that is chosen.
	Policy string `json:"policy"`
	// Templates are further ones, by name: Go templates of a strategic merge patch of a Pod. One named sidecar or gateway takes the
	// place of Mizzen's own.
	Templates map[string]string `json:"templates"`
	// DefaultTemplates are those of a pod that names none; nil: sidecar.
	DefaultTemplates []string `json:"defaultTemplates"`
	// Aliases are names of several templates.
	Aliases map[string][]string `json:"aliases"`
	// NeverInjectSelector and AlwaysInjectSelector decide about pods that say nothing themselves, by their labels.
	NeverInjectSelector  []metav1.LabelSelector `json:"neverInjectSelector"`
	AlwaysInjectSelector []metav1.LabelSelector `json:"alwaysInjectSelector"`
	// InjectedAnnotations are added to every injected pod.
	InjectedAnnotations map[string]string `json:"injectedAnnotations"`
}

// Values is key "values": those of the chart that bear on pods. Names and defaults are those of Istio's chart, besides Mizzen.
type Values struct {
	Revision     string   `json:"revision"`
	RevisionTags []string `json:"revisionTags"`
	Global       Global   `json:"global"`
	Pilot        struct {
		CNI struct {
			// Enabled: connections are intercepted by a program of the node, such as istio-cni, and the pod has no container for it.
			Enabled bool `json:"enabled"`
		} `json:"cni"`
	} `json:"pilot"`
	SidecarInjectorWebhook struct {
		RewriteAppHTTPProbe       bool `json:"rewriteAppHTTPProbe"`
		EnableNamespacesByDefault bool `json:"enableNamespacesByDefault"`
	} `json:"sidecarInjectorWebhook"`
	Gateways struct {
		SecurityContext *corev1.PodSecurityContext `json:"securityContext"` // of gateways' pods; nil: they may open every port
	} `json:"gateways"`
	Mizzen MizzenValues `json:"mizzen"`
}

// MizzenValues have no counterpart in Istio's chart.
type MizzenValues struct {
	// NativeSidecars is "true", "false" or "auto": where the cluster has them.
	NativeSidecars Text `json:"nativeSidecars"`
	// Filters runs the policies in sidecars: dynamic-module, wasm, golang (which wants a contrib Envoy) or native. Annotation
	// mizzen.dev/filters wins.
	Filters string `json:"filters"`
	Module  struct {
		// Delivery of the module to the proxy: "emptyDir", by an init container; "imageVolume"; "none": it is in the proxy's image.
		Delivery string `json:"delivery"`
		// Image carries the dynamic module: a name under hub, or with "/" a whole one. WasmImage and GolangImage carry the others.
		Image       string `json:"image"`
		WasmImage   string `json:"wasmImage"`
		GolangImage string `json:"golangImage"`
	} `json:"module"`
}

// Global is Istio's values.global.
type Global struct {
	Hub              string                 `json:"hub"`
	Tag              Text                   `json:"tag"`
	Variant          string                 `json:"variant"`
	ImagePullPolicy  corev1.PullPolicy      `json:"imagePullPolicy"`
	ImagePullSecrets []ImagePullSecret      `json:"imagePullSecrets"`
	IstioNamespace   string                 `json:"istioNamespace"`
	CAAddress        string                 `json:"caAddress"`
	MeshID           string                 `json:"meshID"`
	Network          string                 `json:"network"`
	TrustBundleName  string                 `json:"trustBundleName"`
	LogAsJSON        bool                   `json:"logAsJson"`
	NativeNftables   bool                   `json:"nativeNftables"`
	Logging          struct{ Level string } `json:"logging"`
	MultiCluster     struct {
		ClusterName string `json:"clusterName"`
	} `json:"multiCluster"`
	SDS struct {
		Token struct {
			Audience string `json:"aud"`
		} `json:"token"`
	} `json:"sds"`
	Proxy     ProxyValues `json:"proxy"`
	ProxyInit struct {
		Image              string `json:"image"`
		ForceApplyIptables bool   `json:"forceApplyIptables"`
	} `json:"proxy_init"`
}

// ProxyValues is Istio's values.global.proxy.
type ProxyValues struct {
	Image                           string                      `json:"image"`
	ClusterDomain                   string                      `json:"clusterDomain"`
	LogLevel                        string                      `json:"logLevel"`
	ComponentLogLevel               string                      `json:"componentLogLevel"`
	Privileged                      bool                        `json:"privileged"`
	HoldApplicationUntilProxyStarts bool                        `json:"holdApplicationUntilProxyStarts"`
	IncludeIPRanges                 Text                        `json:"includeIPRanges"`
	ExcludeIPRanges                 Text                        `json:"excludeIPRanges"`
	IncludeInboundPorts             Text                        `json:"includeInboundPorts"`
	ExcludeInboundPorts             Text                        `json:"excludeInboundPorts"`
	IncludeOutboundPorts            Text                        `json:"includeOutboundPorts"`
	ExcludeOutboundPorts            Text                        `json:"excludeOutboundPorts"`
	StatusPort                      int32                       `json:"statusPort"`
	ReadinessInitialDelaySeconds    int32                       `json:"readinessInitialDelaySeconds"`
	ReadinessPeriodSeconds          int32                       `json:"readinessPeriodSeconds"`
	ReadinessFailureThreshold       int32                       `json:"readinessFailureThreshold"`
	Resources                       corev1.ResourceRequirements `json:"resources"`
	SeccompProfile                  *corev1.SeccompProfile      `json:"seccompProfile"` // nil: none is asked for
	Lifecycle                       *corev1.Lifecycle           `json:"lifecycle"`      // nil: the injector's
	StartupProbe                    struct {
		Enabled          bool  `json:"enabled"`
		FailureThreshold int32 `json:"failureThreshold"`
	} `json:"startupProbe"`
}

// Text is a text that users also write as a bare number or a boolean.
type Text string

// UnmarshalJSON takes numbers and booleans for what they look like.
func (t *Text) UnmarshalJSON(raw []byte) error {
	var s string
	if err := json.Unmarshal(raw, &s); err == nil {
		*t = Text(s)
		return nil
	}
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		return fmt.Errorf("want a text, got %s", raw)
	}
	*t = Text(raw)
	return nil
}

// ImagePullSecret is the name of a Secret. Helm users also write it as Kubernetes does, {name: NAME}.
type ImagePullSecret string

// UnmarshalJSON reads both.
func (s *ImagePullSecret) UnmarshalJSON(raw []byte) error {
	var ref corev1.LocalObjectReference
	if err := json.Unmarshal(raw, &ref); err == nil {
		*s = ImagePullSecret(ref.Name)
		return nil
	}
	return json.Unmarshal(raw, (*string)(s))
}

// defaults of the chart.
const defaults = `
global:
  hub: mizzen
  tag: latest
  istioNamespace: istio-system
  trustBundleName: istio-ca-root-cert
  logging: {level: "default:info"}
  sds: {token: {aud: istio-ca}}
  proxy:
    image: proxy
    clusterDomain: cluster.local
    logLevel: warning
    componentLogLevel: misc:error
    includeIPRanges: "*"
    includeInboundPorts: "*"
    readinessPeriodSeconds: 15
    readinessFailureThreshold: 4
    startupProbe: {enabled: true, failureThreshold: 600}
    seccompProfile: {type: RuntimeDefault}
    resources:
      requests: {cpu: 100m, memory: 128Mi}
      limits: {cpu: 2000m, memory: 1024Mi}
  proxy_init: {image: proxy}
sidecarInjectorWebhook: {rewriteAppHTTPProbe: true}
mizzen:
  nativeSidecars: auto
  filters: dynamic-module
  module: {delivery: emptyDir, image: module, wasmImage: wasm, golangImage: golang}
`

// ParseConfig reads key "config"; an empty text is the default.
func ParseConfig(text []byte) (Config, error) {
	var c Config
	if err := yaml.Unmarshal(text, &c); err != nil {
		return Config{}, fmt.Errorf("read injection config: %w", err)
	}
	switch c.Policy {
	case "", "enabled", "disabled":
	default:
		return Config{}, fmt.Errorf("read injection config: policy: want enabled or disabled, got %q", c.Policy)
	}
	for _, list := range [][]metav1.LabelSelector{c.NeverInjectSelector, c.AlwaysInjectSelector} {
		for i := range list {
			if _, err := metav1.LabelSelectorAsSelector(&list[i]); err != nil {
				return Config{}, fmt.Errorf("read injection config: neverInjectSelector or alwaysInjectSelector: %w", err)
			}
		}
	}
	return c, nil
}

// ParseValues reads key "values" over the chart's defaults: a key left out has its default, null takes a default away. Keys that do not
// bear on pods are ignored. The map is the same as users' templates see it.
func ParseValues(text []byte) (Values, map[string]any, error) {
	all, err := object([]byte(defaults))
	if err != nil {
		return Values{}, nil, err
	}
	own, err := object(text)
	if err != nil {
		return Values{}, nil, err
	}
	lay(all, own)
	raw, err := json.Marshal(all)
	if err != nil {
		return Values{}, nil, fmt.Errorf("read injection values: %w", err)
	}
	var v Values
	if err := json.Unmarshal(raw, &v); err != nil {
		return Values{}, nil, fmt.Errorf("read injection values: %w", err)
	}
	if p := v.Global.Proxy.SeccompProfile; p != nil && p.Type == "" {
		v.Global.Proxy.SeccompProfile = nil
	}
	return v, all, v.check()
}

func (v Values) check() error {
	for _, x := range []struct {
		key, value string
		words      []string
	}{
		{"nativeSidecars", string(v.Mizzen.NativeSidecars), []string{"auto", "true", "false"}},
		{"module.delivery", v.Mizzen.Module.Delivery, []string{"emptyDir", "imageVolume", "none"}},
		{"filters", v.Mizzen.Filters, mesh.FilterHosts()},
	} {
		if !slices.Contains(x.words, x.value) {
			return fmt.Errorf("read injection values: mizzen.%s: want one of %s, got %q", x.key, strings.Join(x.words, ", "), x.value)
		}
	}
	return nil
}

func object(text []byte) (map[string]any, error) {
	out := map[string]any{}
	if err := yaml.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read injection values: %w", err)
	}
	if out == nil {
		out = map[string]any{}
	}
	return out, nil
}

// lay puts over on into, key by key; null deletes.
func lay(into, over map[string]any) {
	for k, v := range over {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			below, _ := into[k].(map[string]any)
			if below = maps.Clone(below); below == nil {
				below = map[string]any{}
			}
			lay(below, v)
			into[k] = below
		default:
			into[k] = v
		}
	}
}
