package proxyconfig

import (
	"cmp"
	"slices"
	"strings"
)

// ProxyState is what `proxy-status` needs of an element of the control plane's /debug/syncz.
type ProxyState struct {
	// ControlPlane names the one that the proxy is connected to; whoever asked it knows.
	ControlPlane string               `json:"-"`
	Proxy        string               `json:"proxy"`
	ID           string               `json:"id"`
	Envoy        string               `json:"envoy,omitempty"`
	Protocol     string               `json:"protocol,omitempty"`
	Synced       bool                 `json:"synced"`
	Module       bool                 `json:"module"`
	Without      []string             `json:"without,omitempty"` // objects that it goes without, with Envoy's reason
	Types        map[string]TypeState `json:"types"`
}

// TypeState is one resource type of one proxy.
type TypeState struct {
	State     string `json:"state"`
	Resources int    `json:"resources"`
	Error     string `json:"error,omitempty"`
}

// cluster is the CLUSTER column: there is one.
const cluster = "local"

// StatusTable is `proxy-status` in istioctl's classic columns, and VHDS, by which virtual hosts travel.
func StatusTable(proxies []ProxyState) Table {
	t := Table{Header: []string{"NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "VHDS", "ISTIOD", "VERSION"}}
	for _, p := range sorted(proxies) {
		row := []string{p.Proxy, cluster}
		for _, k := range []string{"cds", "lds", "eds", "rds", "vhds"} {
			row = append(row, cmp.Or(p.Types[k].State, "IGNORED"))
		}
		t.Rows = append(t.Rows, append(row, p.ControlPlane, dash(p.Envoy)))
	}
	return t
}

// ShortStatusTable is `proxy-status -o short` in istioctl's current columns.
func ShortStatusTable(proxies []ProxyState) Table {
	t := Table{Header: []string{"NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"}}
	for _, p := range sorted(proxies) {
		var types []string
		for _, k := range []string{"cds", "lds", "eds", "rds", "vhds"} {
			if s := p.Types[k].State; s != "" && s != "NOT SENT" {
				types = append(types, strings.ToUpper(k))
			}
		}
		t.Rows = append(t.Rows, []string{p.Proxy, cluster, p.ControlPlane, dash(p.Envoy), count(types)})
	}
	return t
}

func count(types []string) string {
	return string(rune('0'+len(types))) + " (" + strings.Join(types, ",") + ")"
}

func sorted(proxies []ProxyState) []ProxyState {
	out := slices.Clone(proxies)
	slices.SortStableFunc(out, func(a, b ProxyState) int { return cmp.Or(cmp.Compare(a.Proxy, b.Proxy), cmp.Compare(a.ID, b.ID)) })
	return out
}
