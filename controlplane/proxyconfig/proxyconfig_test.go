package proxyconfig

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// at is when certificates are looked at.
var at = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func parse(t *testing.T, raw []byte) *Dump {
	t.Helper()
	d, err := Parse(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func text(t *testing.T, table Table, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := table.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTables(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c *golden.Case) map[string]string {
		d := parse(t, c.File("dump.json"))
		of := func(table Table, err error) string { return text(t, table, err) }
		v, err := d.Versions()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := v.Write(&b); err != nil {
			t.Fatal(err)
		}
		return map[string]string{
			"bootstrap": b.String(),
			"clusters":  of(d.ClusterTable(ClusterFilter{})),
			"endpoints": of(d.EndpointTable(EndpointFilter{})),
			"listeners": of(d.ListenerTable(ListenerFilter{})), "listeners-short": of(d.ShortListenerTable(ListenerFilter{})),
			"routes": of(d.RouteTable("")), "routes-short": of(d.ShortRouteTable("")),
			"secrets":  of(d.SecretTable(at)),
			"failures": strings.Join(d.Failures, "\n"),
		}
	})
}

func TestFilters(t *testing.T) {
	d := parse(t, golden.Load(t, "testdata")[1].File("dump.json"))
	rows := func(table Table, err error) int {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return len(table.Rows)
	}
	for what, n := range map[string][2]int{
		"clusters by FQDN":         {rows(d.ClusterTable(ClusterFilter{FQDN: "reviews"})), 2},
		"clusters by subset":       {rows(d.ClusterTable(ClusterFilter{Subset: "v2"})), 1},
		"clusters by direction":    {rows(d.ClusterTable(ClusterFilter{Direction: "inbound"})), 1},
		"clusters by port":         {rows(d.ClusterTable(ClusterFilter{Port: 443})), 1},
		"listeners by port":        {rows(d.ListenerTable(ListenerFilter{Port: 6379})), 2},
		"listeners by type":        {rows(d.ShortListenerTable(ListenerFilter{Type: "http"})), 2},
		"listeners by address":     {rows(d.ShortListenerTable(ListenerFilter{Address: "10.96.0.7"})), 1},
		"endpoints by status":      {rows(d.EndpointTable(EndpointFilter{Status: "draining"})), 1},
		"endpoints by other names": {rows(d.EndpointTable(EndpointFilter{Cluster: "x"})), 0},
		"routes by other names":    {rows(d.RouteTable("81")), 0},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d rows, want %d", what, n[0], n[1])
		}
	}
	if raw, err := d.EndpointJSON(EndpointFilter{Port: 9080}); err != nil || len(raw) != 1 || !strings.Contains(string(raw[0]), `"clusterName"`) {
		t.Errorf("%s %v: want the load assignment as it was written", raw, err)
	}
}

// TestNoVirtualHosts: what stands for no virtual host is not shown as one.
func TestNoVirtualHosts(t *testing.T) {
	d := parse(t, []byte(`{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[{"route_config":{
		"name":"http.80","virtual_hosts":[{"name":"http.80/(none)","domains":["none.invalid"]}]}}]}]}`))
	if got, want := text2(d.ShortRouteTable("")), "NAME        VIRTUAL HOSTS\nhttp.80     0\n"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if got, err := d.RouteTable(""); err != nil || len(got.Rows) > 0 {
		t.Errorf("%v, %v; want no rows", got.Rows, err)
	}
}

func TestLiveEndpoints(t *testing.T) {
	got := text2(LiveEndpointTable(strings.NewReader(`{"cluster_statuses":[{"name":"b","host_statuses":[
		{"address":{"socket_address":{"address":"10.0.0.2","port_value":80}},"health_status":{"eds_health_status":"HEALTHY","failed_outlier_check":true}},
		{"address":{"socket_address":{"address":"10.0.0.1","port_value":80}},"health_status":{"eds_health_status":"HEALTHY"}}]},
		{"name":"a","host_statuses":[{"address":{"pipe":{"path":"/x"}},"health_status":{"failed_active_health_check":true}}]}]}`), EndpointFilter{}))
	want := `ENDPOINT        STATUS        OUTLIER CHECK     CLUSTER
10.0.0.1:80     HEALTHY       OK                b
10.0.0.2:80     HEALTHY       FAILED            b
unix:///x       UNHEALTHY     OK                a
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func text2(table Table, err error) string {
	if err != nil {
		return err.Error()
	}
	var b bytes.Buffer
	if err := table.Write(&b); err != nil {
		return err.Error()
	}
	return b.String()
}

func TestStatusTables(t *testing.T) {
	ps := []ProxyState{
		{ControlPlane: "here", Proxy: "b.ns", Envoy: "1.39.3", Types: map[string]TypeState{"cds": {State: "SYNCED"}, "lds": {State: "STALE"}, "eds": {State: "NOT SENT"}, "rds": {State: "ERROR"}}},
		{ControlPlane: "here", Proxy: "a.ns", Types: map[string]TypeState{"cds": {State: "SYNCED"}, "lds": {State: "SYNCED"}, "eds": {State: "SYNCED"}, "rds": {State: "SYNCED"}, "vhds": {State: "SYNCED"}}},
	}
	if got, want := text2(StatusTable(ps), nil), `NAME     CLUSTER     CDS        LDS        EDS          RDS        VHDS        ISTIOD     VERSION
a.ns     local       SYNCED     SYNCED     SYNCED       SYNCED     SYNCED      here       -
b.ns     local       SYNCED     STALE      NOT SENT     ERROR      IGNORED     here       1.39.3
`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := text2(ShortStatusTable(ps[:1]), nil), `NAME     CLUSTER     ISTIOD     VERSION     SUBSCRIBED TYPES
b.ns     local       here       1.39.3      3 (CDS,LDS,RDS)
`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNotADump(t *testing.T) {
	for _, s := range []string{"", "[]", "{}", `{"configs":[]}`, "not json"} {
		if _, err := Parse(strings.NewReader(s)); err == nil {
			t.Errorf("%q was taken for a config dump", s)
		}
	}
}
