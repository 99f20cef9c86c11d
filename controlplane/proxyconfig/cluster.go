package proxyconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ClusterFilter picks clusters; zero fields pick all.
type ClusterFilter struct {
	FQDN, Subset, Direction string
	Port                    int
}

// clusterRow is what the table tells of a cluster.
type clusterRow struct {
	name, fqdn, subset, direction, kind, rule string
	port                                      int // 0: none
	raw                                       json.RawMessage
}

// metadata is where Istio's names are kept.
type metadata struct {
	FilterMetadata struct {
		Istio struct {
			Config string `json:"config"`
		} `json:"istio"`
	} `json:"filter_metadata"`
}

// object is "name.namespace" of "/apis/networking.istio.io/v1/namespaces/NAMESPACE/kind/NAME", the form in which Istio writes
// an object into metadata. "" if it is none.
func (m metadata) object() string {
	parts := strings.Split(m.FilterMetadata.Istio.Config, "/")
	if len(parts) != 8 {
		return ""
	}
	return parts[7] + "." + parts[5]
}

func (d *Dump) clusters(f ClusterFilter) ([]clusterRow, error) {
	var out []clusterRow
	for _, raw := range d.Clusters {
		var c struct {
			Name        string `json:"name"`
			Type        string `json:"type"`
			ClusterType struct {
				Name string `json:"name"`
			} `json:"cluster_type"`
			Metadata metadata `json:"metadata"`
		}
		if err := decode(raw, &c); err != nil {
			return nil, fmt.Errorf("read cluster: %w", err)
		}
		r := clusterRow{name: c.Name, kind: cmp.Or(c.Type, c.ClusterType.Name, "STATIC"), rule: c.Metadata.object(), raw: raw}
		r.direction, r.port, r.subset, r.fqdn = splitCluster(c.Name)
		if f.matches(r) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b clusterRow) int {
		return cmp.Or(cmp.Compare(a.fqdn, b.fqdn), cmp.Compare(a.port, b.port), cmp.Compare(a.subset, b.subset), cmp.Compare(a.direction, b.direction))
	})
	return out, nil
}

func (f ClusterFilter) matches(r clusterRow) bool {
	return (f.FQDN == "" || strings.Contains(r.fqdn, f.FQDN)) && (f.Subset == "" || f.Subset == r.subset) &&
		(f.Direction == "" || f.Direction == r.direction) && (f.Port == 0 || f.Port == r.port)
}

// splitCluster cuts "outbound|9080|v1|reviews.default.svc.cluster.local". A name in no such form is the FQDN itself.
func splitCluster(name string) (direction string, port int, subset, fqdn string) {
	parts := strings.Split(name, "|")
	if len(parts) != 4 {
		return "", 0, "", name
	}
	port, err := strconv.Atoi(parts[1])
	if err != nil {
		return "", 0, "", name
	}
	return parts[0], port, parts[2], parts[3]
}

// ClusterTable is `proxy-config clusters`.
func (d *Dump) ClusterTable(f ClusterFilter) (Table, error) {
	t := Table{Header: []string{"SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"}}
	rows, err := d.clusters(f)
	for _, r := range rows {
		port := "-"
		if r.port != 0 {
			port = strconv.Itoa(r.port)
		}
		t.Rows = append(t.Rows, []string{r.fqdn, port, dash(r.subset), dash(r.direction), r.kind, r.rule})
	}
	return t, err
}

// ClusterJSON are the picked clusters as Envoy wrote them.
func (d *Dump) ClusterJSON(f ClusterFilter) ([]json.RawMessage, error) {
	rows, err := d.clusters(f)
	return rawOf(rows, func(r clusterRow) json.RawMessage { return r.raw }), err
}

func rawOf[T any](rows []T, raw func(T) json.RawMessage) []json.RawMessage {
	out := []json.RawMessage{}
	for _, r := range rows {
		out = append(out, raw(r))
	}
	return out
}

func dash(s string) string { return cmp.Or(s, "-") }
