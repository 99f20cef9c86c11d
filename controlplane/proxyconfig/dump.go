// Package proxyconfig prints what an Envoy is configured with, and how proxies stand with their control plane, in istioctl's
// tables. It reads Envoy's own /config_dump as JSON, from whatever Envoy, and needs none of the types inside.
package proxyconfig

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Dump is an Envoy's /config_dump, cut into resources. Each is JSON as Envoy wrote it.
type Dump struct {
	Bootstrap json.RawMessage // nil if the dump has none
	Clusters  []json.RawMessage
	Endpoints []json.RawMessage
	Listeners []json.RawMessage
	Routes    []json.RawMessage
	Secrets   []Secret
	// Failures are updates that Envoy rejected, as "listener NAME: why".
	Failures []string
}

// Secret is a named secret; State is ACTIVE or WARMING.
type Secret struct {
	Name, State string
	Secret      json.RawMessage
}

// section is one element of a dump's "configs": the union of all of them.
type section struct {
	Bootstrap              json.RawMessage `json:"bootstrap"`
	StaticClusters         []entry         `json:"static_clusters"`
	DynamicActiveClusters  []entry         `json:"dynamic_active_clusters"`
	DynamicWarmingClusters []entry         `json:"dynamic_warming_clusters"`
	StaticListeners        []entry         `json:"static_listeners"`
	DynamicListeners       []entry         `json:"dynamic_listeners"`
	StaticRouteConfigs     []entry         `json:"static_route_configs"`
	DynamicRouteConfigs    []entry         `json:"dynamic_route_configs"`
	StaticEndpointConfigs  []entry         `json:"static_endpoint_configs"`
	DynamicEndpointConfigs []entry         `json:"dynamic_endpoint_configs"`
	StaticSecrets          []entry         `json:"static_secrets"`
	DynamicActiveSecrets   []entry         `json:"dynamic_active_secrets"`
	DynamicWarmingSecrets  []entry         `json:"dynamic_warming_secrets"`
}

// entry is one resource in a section, whatever its type.
type entry struct {
	Name           string          `json:"name"`
	Cluster        json.RawMessage `json:"cluster"`
	Listener       json.RawMessage `json:"listener"`
	RouteConfig    json.RawMessage `json:"route_config"`
	EndpointConfig json.RawMessage `json:"endpoint_config"`
	Secret         json.RawMessage `json:"secret"`
	ActiveState    *entry          `json:"active_state"`
	WarmingState   *entry          `json:"warming_state"`
	ErrorState     *struct {
		Details string `json:"details"`
	} `json:"error_state"`
}

// Parse reads a dump. Both spellings of field names are understood: Envoy's and protobuf's own.
func Parse(r io.Reader) (*Dump, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read config dump: %w", err)
	}
	var top struct {
		Configs []section `json:"configs"`
	}
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, fmt.Errorf("read config dump: %w", err)
	}
	if len(top.Configs) == 0 {
		return nil, fmt.Errorf(`read config dump: it has no "configs"`)
	}
	d := &Dump{}
	for _, s := range top.Configs {
		d.add(s)
	}
	return d, nil
}

func (d *Dump) add(s section) {
	if s.Bootstrap != nil {
		d.Bootstrap = s.Bootstrap
	}
	for _, list := range [][]entry{s.StaticClusters, s.DynamicActiveClusters, s.DynamicWarmingClusters} {
		for _, e := range list {
			d.Clusters = appendSome(d.Clusters, e.Cluster)
		}
	}
	for _, list := range [][]entry{s.StaticEndpointConfigs, s.DynamicEndpointConfigs} {
		for _, e := range list {
			d.Endpoints = appendSome(d.Endpoints, e.EndpointConfig)
		}
	}
	for _, list := range [][]entry{s.StaticRouteConfigs, s.DynamicRouteConfigs} {
		for _, e := range list {
			d.Routes = appendSome(d.Routes, e.RouteConfig)
		}
	}
	for _, e := range append(s.StaticListeners, s.DynamicListeners...) {
		d.addListener(e)
	}
	for _, e := range append(s.StaticSecrets, s.DynamicActiveSecrets...) {
		d.Secrets = append(d.Secrets, Secret{e.Name, "ACTIVE", e.Secret})
	}
	for _, e := range s.DynamicWarmingSecrets {
		d.Secrets = append(d.Secrets, Secret{e.Name, "WARMING", e.Secret})
	}
}

// addListener takes the state in force, or the one that warms if there is none yet.
func (d *Dump) addListener(e entry) {
	switch {
	case e.Listener != nil:
		d.Listeners = append(d.Listeners, e.Listener)
	case e.ActiveState != nil && e.ActiveState.Listener != nil:
		d.Listeners = append(d.Listeners, e.ActiveState.Listener)
	case e.WarmingState != nil:
		d.Listeners = appendSome(d.Listeners, e.WarmingState.Listener)
	}
	if e.ErrorState != nil {
		d.Failures = append(d.Failures, "listener "+e.Name+": "+e.ErrorState.Details)
	}
}

func appendSome(list []json.RawMessage, raw json.RawMessage) []json.RawMessage {
	if raw == nil {
		return list
	}
	return append(list, raw)
}

// UnmarshalJSON understands both spellings, and leaves the resources inside as they are.
func (s *section) UnmarshalJSON(raw []byte) error {
	type plain section
	return decodeOuter(raw, (*plain)(s))
}

// UnmarshalJSON understands both spellings, and leaves the resource inside as it is.
func (e *entry) UnmarshalJSON(raw []byte) error {
	type plain entry
	return decodeOuter(raw, (*plain)(e))
}

// decodeOuter reads an object whose own field names are in either spelling.
func decodeOuter(raw []byte, into any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	out := make(map[string]json.RawMessage, len(fields))
	for k, v := range fields {
		out[snakeKey(k)] = v
	}
	again, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return json.Unmarshal(again, into)
}

// decode reads JSON with field names in either spelling.
func decode(raw []byte, into any) error {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	again, err := json.Marshal(snake(v))
	if err != nil {
		return err
	}
	return json.Unmarshal(again, into)
}

// snake rewrites the keys of objects from "routeConfig" to "route_config". Keys that are not field names (with anything but
// letters and digits in them) stay.
func snake(v any) any {
	switch x := v.(type) {
	case []any:
		for i := range x {
			x[i] = snake(x[i])
		}
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, y := range x {
			out[snakeKey(k)] = snake(y)
		}
		return out
	}
	return v
}

func snakeKey(k string) string {
	if k == "" || k[0] < 'a' || k[0] > 'z' || strings.ContainsFunc(k, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		return k
	}
	var b strings.Builder
	for _, r := range k {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}
