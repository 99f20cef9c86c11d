package proxyconfig

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// EndpointFilter picks endpoints; zero fields pick all.
type EndpointFilter struct {
	Cluster, Address, Status string
	Port                     int
}

type address struct {
	SocketAddress struct {
		Address   string `json:"address"`
		PortValue int    `json:"port_value"`
	} `json:"socket_address"`
	Pipe struct {
		Path string `json:"path"`
	} `json:"pipe"`
	EnvoyInternalAddress struct {
		ServerListenerName string `json:"server_listener_name"`
	} `json:"envoy_internal_address"`
}

func (a address) String() string {
	switch {
	case a.Pipe.Path != "":
		return "unix://" + a.Pipe.Path
	case a.EnvoyInternalAddress.ServerListenerName != "":
		return "envoy://" + a.EnvoyInternalAddress.ServerListenerName
	}
	return a.SocketAddress.Address + ":" + strconv.Itoa(a.SocketAddress.PortValue)
}

type locality struct {
	Region  string `json:"region"`
	Zone    string `json:"zone"`
	SubZone string `json:"sub_zone"`
}

func (l locality) String() string {
	return strings.TrimRight(l.Region+"/"+l.Zone+"/"+l.SubZone, "/")
}

// endpointRow is one endpoint, from a config dump or from Envoy's live /clusters.
type endpointRow struct {
	address  address
	status   string
	outlier  string
	locality string
	cluster  string
	raw      json.RawMessage // of its cluster
}

func (f EndpointFilter) matches(r endpointRow) bool {
	a := r.address.SocketAddress
	return (f.Cluster == "" || f.Cluster == r.cluster) && (f.Address == "" || f.Address == a.Address) &&
		(f.Status == "" || strings.EqualFold(f.Status, r.status)) && (f.Port == 0 || f.Port == a.PortValue)
}

func sortEndpoints(rows []endpointRow) {
	slices.SortStableFunc(rows, func(a, b endpointRow) int {
		return cmp.Or(cmp.Compare(a.address.String(), b.address.String()), cmp.Compare(a.cluster, b.cluster))
	})
}

// configured reads the endpoints of the dump, which has them if it was asked for with include_eds.
func (d *Dump) configured(f EndpointFilter) ([]endpointRow, error) {
	var out []endpointRow
	for _, raw := range d.Endpoints {
		var c struct {
			ClusterName string `json:"cluster_name"`
			Endpoints   []struct {
				Locality    locality `json:"locality"`
				LbEndpoints []struct {
					Endpoint struct {
						Address address `json:"address"`
					} `json:"endpoint"`
					HealthStatus string `json:"health_status"`
				} `json:"lb_endpoints"`
			} `json:"endpoints"`
		}
		if err := decode(raw, &c); err != nil {
			return nil, fmt.Errorf("read endpoints: %w", err)
		}
		for _, l := range c.Endpoints {
			for _, e := range l.LbEndpoints {
				r := endpointRow{address: e.Endpoint.Address, status: cmp.Or(e.HealthStatus, "HEALTHY"),
					locality: l.Locality.String(), cluster: c.ClusterName, raw: raw}
				if f.matches(r) {
					out = append(out, r)
				}
			}
		}
	}
	sortEndpoints(out)
	return out, nil
}

// EndpointTable is `proxy-config endpoints --file`: what is configured.
func (d *Dump) EndpointTable(f EndpointFilter) (Table, error) {
	t := Table{Header: []string{"NAME", "STATUS", "LOCALITY", "CLUSTER"}}
	rows, err := d.configured(f)
	for _, r := range rows {
		t.Rows = append(t.Rows, []string{r.address.String(), r.status, r.locality, r.cluster})
	}
	return t, err
}

// EndpointJSON are the load assignments that hold a picked endpoint.
func (d *Dump) EndpointJSON(f EndpointFilter) ([]json.RawMessage, error) {
	rows, err := d.configured(f)
	slices.SortStableFunc(rows, func(a, b endpointRow) int { return cmp.Compare(a.cluster, b.cluster) })
	rows = slices.CompactFunc(rows, func(a, b endpointRow) bool { return a.cluster == b.cluster })
	return rawOf(rows, func(r endpointRow) json.RawMessage { return r.raw }), err
}

// LiveEndpointTable is `proxy-config endpoints` of a running Envoy: r is its /clusters?format=json, which knows what the
// checks found.
func LiveEndpointTable(r io.Reader, f EndpointFilter) (Table, error) {
	t := Table{Header: []string{"ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"}}
	raw, err := io.ReadAll(r)
	if err != nil {
		return t, fmt.Errorf("read live clusters: %w", err)
	}
	var all struct {
		ClusterStatuses []struct {
			Name         string `json:"name"`
			HostStatuses []struct {
				Address      address `json:"address"`
				HealthStatus struct {
					EdsHealthStatus         string `json:"eds_health_status"`
					FailedOutlierCheck      bool   `json:"failed_outlier_check"`
					FailedActiveHealthCheck bool   `json:"failed_active_health_check"`
				} `json:"health_status"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := decode(raw, &all); err != nil {
		return t, fmt.Errorf("read live clusters: %w", err)
	}
	var rows []endpointRow
	for _, c := range all.ClusterStatuses {
		for _, h := range c.HostStatuses {
			row := endpointRow{address: h.Address, status: cmp.Or(h.HealthStatus.EdsHealthStatus, "HEALTHY"), outlier: "OK", cluster: c.Name}
			if h.HealthStatus.FailedOutlierCheck {
				row.outlier = "FAILED"
			}
			if h.HealthStatus.FailedActiveHealthCheck {
				row.status = "UNHEALTHY"
			}
			if f.matches(row) {
				rows = append(rows, row)
			}
		}
	}
	sortEndpoints(rows)
	for _, r := range rows {
		t.Rows = append(t.Rows, []string{r.address.String(), r.status, r.outlier, r.cluster})
	}
	return t, nil
}
