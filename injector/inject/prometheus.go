package inject

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// scrape is ISTIO_PROMETHEUS_ANNOTATIONS: where the agent fetches the application's own metrics.
type scrape struct {
	Scrape string `json:"scrape"`
	Path   string `json:"path"`
	Port   string `json:"port"`
}

// metrics has Prometheus scrape the agent, which answers with the application's metrics and Envoy's in one. What the pod said of its own
// goes to the agent. A pod that is not to be scraped stays so.
func (b *build) metrics() {
	own, keys := b.scraped()
	c := b.sidecarOf()
	if c == nil || b.status == 0 || !b.merges() {
		return
	}
	if scraped, err := strconv.ParseBool(own.Scrape); err == nil && !scraped {
		return
	}
	target := strconv.Itoa(int(b.status))
	if own.Port == target {
		return
	}
	if n, err := strconv.ParseUint(own.Port, 10, 16); own.Port != "" && (err != nil || n == 0) {
		b.warn("annotation prometheus.io/port: %q is not a port: Prometheus is left as it is", own.Port)
		return
	}
	if own != (scrape{}) {
		raw, err := json.Marshal(own)
		if err != nil {
			return // strings only
		}
		c.Env = put(c.Env, []corev1.EnvVar{{Name: "ISTIO_PROMETHEUS_ANNOTATIONS", Value: string(raw)}})
	}
	for _, k := range keys {
		delete(b.pod.Annotations, k)
	}
	b.annotate("prometheus.io/scrape", "true")
	b.annotate("prometheus.io/port", target)
	b.annotate("prometheus.io/path", "/stats/prometheus")
}

// merges: the pod's word, then the mesh's, then yes.
func (b *build) merges() bool {
	if said, err := strconv.ParseBool(b.annotation(annotationMergeStats, "")); err == nil {
		return said
	}
	if m := b.policy.Mesh.GetEnablePrometheusMerge(); m != nil {
		return m.GetValue()
	}
	return true
}

// scraped are the pod's own annotations for Prometheus, in any of the spellings that it makes the same label of, and their keys.
func (b *build) scraped() (out scrape, keys []string) {
	for _, k := range slices.Sorted(maps.Keys(b.pod.Annotations)) {
		into := map[string]*string{"prometheus_io_scrape": &out.Scrape, "prometheus_io_port": &out.Port, "prometheus_io_path": &out.Path}[sanitized(k)]
		if into != nil {
			*into = b.pod.Annotations[k]
			keys = append(keys, k)
		}
	}
	return out, keys
}

// sanitized is the label that Prometheus makes of an annotation's name.
func sanitized(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}
