package proxyconfig

import (
	"bytes"
	"io"
	"testing"

	"github.com/mizzen-mesh/mizzen/internal/cost"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// FuzzDump: whatever an Envoy, or what pretends to be one, answers to /config_dump and /clusters ends in tables or an error.
func FuzzDump(f *testing.F) {
	for _, c := range golden.Load(f, "testdata") {
		f.Add(c.File("dump.json"))
	}
	for _, s := range []string{
		`{"configs":[{"bootstrap":{}},{"dynamic_listeners":[{"name":"a","active_state":{"listener":{"name":"a","address":{},"filter_chains":[{"filters":[{"typed_config":{}}]}]}},"error_state":{"details":"x"}}]}]}`,
		`{"configs":[{"dynamic_active_secrets":[{"name":"a","secret":{"tls_certificate":{"certificate_chain":{"inline_bytes":"LS0t"}}}}]}]}`,
		`{"cluster_statuses":[{"name":"outbound|80||a","host_statuses":[{"address":{"socket_address":{}},"health_status":{}}]}]}`,
		`{"configs":[{"dynamic_route_configs":[{"route_config":{"virtual_hosts":[{"routes":[{"match":{"safe_regex":{}},"route":{"weighted_clusters":{}}}]}]}}]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 64<<10 {
			t.Skip("longer than what the bounds are for")
		}
		cost.Within(t, func() {
			write := func(table Table, err error) {
				if err == nil {
					_ = table.Write(io.Discard) // which cannot fail
				}
			}
			write(LiveEndpointTable(bytes.NewReader(raw), EndpointFilter{}))
			d, err := Parse(bytes.NewReader(raw))
			if err != nil {
				return
			}
			_, _ = d.Versions()
			write(d.ClusterTable(ClusterFilter{}))
			write(d.EndpointTable(EndpointFilter{}))
			write(d.ListenerTable(ListenerFilter{}))
			write(d.ShortListenerTable(ListenerFilter{}))
			write(d.RouteTable(""))
			write(d.ShortRouteTable(""))
			write(d.SecretTable(at))
		})
	})
}
