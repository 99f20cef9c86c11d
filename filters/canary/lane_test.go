package canary_test

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/filters/canary"
)

// Rules of the edge (it starts lanes) and of a service behind it (it follows them).
const (
	edge = `{"rules":[{"name":"testers","match":[{"headers":[{"name":"x-tester","present":true}]}],"destinations":[{"name":"v2","route":"b"}]},
	 {"name":"shop","match":[{"path":{"prefix":"/shop"}}],"destinations":[{"name":"v1, \"old\"","route":"a"}]}],"lane":{"start":true}}`
	behind = `{"rules":[{"name":"r","destinations":[{"name":"v1","weight":100,"route":"a"},{"name":"v2","weight":0,"route":"b"}]}],"lane":{}}`
)

func TestLaneStarts(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		baggage string
	}{
		{"new", []string{"x-tester: 1"}, "mizzen-lane=v2"},
		{"beside other members", []string{"x-tester: 1", "baggage: a=b;p=1, c=d"}, "a=b;p=1,c=d,mizzen-lane=v2"},
		{"the client's lane is replaced", []string{"x-tester: 1", "baggage: mizzen-lane=v9,a=b", "baggage: mizzen-lane = v8"}, "a=b,mizzen-lane=v2"},
		{"names are encoded", []string{":path: /shop"}, "mizzen-lane=v1%2C%20%22old%22"},
		{"no rule: the client's lane goes", []string{"baggage: mizzen-lane=v2"}, ""},
		{"no rule: the rest stays", []string{"baggage: a=b,mizzen-lane=v2"}, "a=b"},
		{"no rule: baggage without a lane is untouched", []string{"baggage: a=b ,  c=d"}, "a=b ,  c=d"},
	} {
		res := runner(t, edge).Do(c.headers...)
		if got, _ := res.Request.Joined("baggage"); got != c.baggage {
			t.Errorf("%s: %q, want %q", c.name, got, c.baggage)
		}
	}
}

func TestLaneIsFollowed(t *testing.T) {
	for _, c := range []struct{ name, baggage, route, how string }{
		{"to a side of weight 0", "mizzen-lane=v2", "b", "lane"},
		{"among others, with a property", "a=b, mizzen-lane = v2;ttl=1", "b", "lane"},
		{"to nowhere", "mizzen-lane=v9", "a", "off"},
		{"none", "other=v2", "a", "off"},
	} {
		res := runner(t, behind).Do("baggage: " + c.baggage)
		if got := res.Request.Value(canary.RouteHeader); got != c.route {
			t.Errorf("%s: route %q, want %q", c.name, got, c.route)
		}
		dest := map[string]string{"a": "v1", "b": "v2"}[c.route]
		if res.Host.Counted(canary.MetricDecisions, "r", dest, c.how) != 1 {
			t.Errorf("%s: counters %v", c.name, res.Host.Series())
		}
		if got := res.Request.Value("baggage"); got != c.baggage {
			t.Errorf("%s: baggage became %q", c.name, got)
		}
	}
}

// A whole chain: what the edge writes is what the next proxy follows, whatever the name.
func TestLaneRoundTrip(t *testing.T) {
	sent := runner(t, edge).Do(":path: /shop").Request.Value("baggage")
	res := runner(t, `{"rules":[{"name":"r","destinations":[{"name":"v3","weight":1,"route":"x"},{"name":"v1, \"old\"","route":"y"}]}],"lane":{}}`).Do("baggage: " + sent)
	if got := res.Request.Value(canary.RouteHeader); got != "y" {
		t.Errorf("%q led to %q", sent, got)
	}
}

// Without lanes in the configuration baggage decides nothing.
func TestNoLaneNoFollowing(t *testing.T) {
	res := runner(t, `{"rules":[{"name":"r","destinations":[{"name":"v1","weight":1,"route":"a"},{"name":"v2","weight":0,"route":"b"}]}]}`).Do("baggage: mizzen-lane=v2")
	if got := res.Request.Value(canary.RouteHeader); got != "a" {
		t.Errorf("route %q", got)
	}
}
