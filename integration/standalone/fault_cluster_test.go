package standalone

import (
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/envoytest/static"
)

// TestFaultByUpstreamCluster: what Envoy's own filter does with upstream_cluster is, here, a configuration on the entry of a
// weighted cluster.
func TestFaultByUpstreamCluster(t *testing.T) {
	envoytest.Find(t)
	v1, v2 := envoytest.NewUpstream(t, "v1"), envoytest.NewUpstream(t, "v2")
	abort := static.ModuleRoute("mizzen", "mizzen", "mizzen", `{"fault":{"rules":[{"abort":{"percentage":100,"httpStatus":418}}]}}`)
	weighted := static.Obj{"weighted_clusters": static.Obj{"clusters": static.List{
		static.Obj{"name": "v1", "weight": 50},
		static.Obj{"name": "v2", "weight": 50, "typed_per_filter_config": abort},
	}}}
	e := envoytest.Start(t, envoytest.Options{Concurrency: 1, Config: static.Bootstrap(map[string]int{"v1": v1.Port, "v2": v2.Port}, static.Listener{
		Name: "test", Port: ingress, Filters: static.List{static.ModuleFilter("mizzen", "mizzen", "mizzen", "{}")},
		Routes: static.List{static.Route("all", "/", "", static.Obj{"route": weighted})},
	})})
	const n = 400
	aborted := 0
	for range n {
		switch a := e.Get(t, ingress, "/"); {
		case a.Status == 418:
			aborted++
		case a.Status != 200 || !strings.Contains(a.Body, `"v1"`):
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	within(t, "aborted", aborted, n, 0.5)
	if v2.Requests() != 0 {
		t.Errorf("%d requests reached v2, whose requests are all aborted", v2.Requests())
	}
}
