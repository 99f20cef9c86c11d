package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// obj and list write Envoy's configuration, which is JSON.
type (
	obj  = map[string]any
	list = []any
)

// generation is one configuration: what an answer can show of it.
type generation struct {
	n       int
	weights [2]uint32 // of v1 and v2; 0: never
	delay   time.Duration
	abort   int  // status
	sampled bool // every new trace, or none; the listener's, which changes with every listenerEvery-th generation only
}

// listenerEvery is how many changes of routes come to a change of the listener, which drains the one before.
const listenerEvery = 5

// newGeneration makes the n-th configuration, from 0.
func newGeneration(n int) generation {
	weights := [][2]uint32{{100, 0}, {90, 10}, {0, 100}, {50, 50}}
	aborts := []int{503, 500, 418}
	return generation{
		n: n, weights: weights[n%len(weights)], abort: aborts[n%len(aborts)],
		delay:   time.Duration(20+20*(n%3)) * time.Millisecond,
		sampled: n/listenerEvery%2 == 0,
	}
}

// tokens of the canary's routes, and where they lead.
var tokens = []struct{ token, cluster string }{
	{"r0.d0", "v2"}, {"r1.d0", "v1"}, {"r1.d1", "v2"}, {"r2.d0", "v1"}, {"r2.d1", "v2"},
}

func header(name, condition string) string {
	return fmt.Sprintf(`"match":[{"headers":[{"name":%q,%s}]}]`, name, condition)
}

// base is what the listener configures. keyed lets three requests of a key pass in an hour; at-once would refuse
// if places were not given back.
func (g generation) base() string {
	percentage := 0
	if g.sampled {
		percentage = 100
	}
	return fmt.Sprintf(`{"tracing":{"inject":["w3c","b3","b3multi"],"sampling":{"percentage":%d}},"ratelimit":{"maxKeys":2000,"limits":[`+
		`{"name":"keyed",%s,"key":[{"header":"x-key"}],"requests":%d,"per":"1h"},`+
		`{"name":"at-once","concurrency":256},{"name":"all","requests":1000000000,"per":"1s"}]}}`,
		percentage, header("x-key", `"present":true`), keyedLimit)
}

// canary is what the virtual host configures, without the braces around.
func (g generation) canary() string {
	sides := func(rule int) string {
		return fmt.Sprintf(`"destinations":[{"name":"v1","weight":%d,"route":"r%d.d0"},{"name":"v2","weight":%d,"route":"r%d.d1"}]`,
			g.weights[0], rule, g.weights[1], rule)
	}
	return fmt.Sprintf(`"canary":{"responseHeader":"x-canary","rules":[`+
		`{"name":"testers",%s,"destinations":[{"name":"v2","route":"r0.d0"}]},`+
		`{"name":"users",%s,"sticky":{"key":{"header":"x-user"}},%s},`+
		`{"name":"all",%s}]}`, header("x-group", `"exact":"testers"`), header("x-user", `"present":true`), sides(1), sides(2))
}

// fault is what a chosen route configures, without the braces around.
func (g generation) fault() string {
	return fmt.Sprintf(`"fault":{"rules":[`+
		`{"name":"slow",%s,"delay":{"percentage":100,"fixed":%q}},`+
		`{"name":"hang",%s,"delay":{"percentage":100,"fixed":"2s"}},`+
		`{"name":"dead",%s,"abort":{"percentage":100,"httpStatus":%d}}]}`,
		header("x-fault", `"exact":"slow"`), g.delay, header("x-fault", `"exact":"hang"`), header("x-fault", `"exact":"dead"`), g.abort)
}

const (
	typeURL   = "type.googleapis.com/"
	routerURL = typeURL + "envoy.extensions.filters.http.router.v3.Router"
	hcmURL    = typeURL + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)

// routes is the route table of g.
func (g generation) routes(h host) obj {
	var routes list
	for _, t := range tokens {
		routes = append(routes, obj{
			"name": t.token, "route": obj{"cluster": t.cluster},
			"match": obj{"prefix": "/", "headers": list{obj{"name": "x-mizzen-route", "string_match": obj{"exact": t.token}}}},
		})
	}
	routes = append(routes, obj{"name": "unchosen", "match": obj{"prefix": "/"}, "direct_response": obj{"status": 404}})
	vh := obj{"name": "all", "domains": list{"*"}, "routes": routes}
	h.levels(vh, g)
	return obj{"@type": typeURL + "envoy.config.route.v3.RouteConfiguration", "name": "soak",
		"request_headers_to_remove": list{"x-mizzen-route"}, "virtual_hosts": list{vh}}
}

// listener is the listener of g; its routes come from the file routes.
func (g generation) listener(h host, port int, routes string) obj {
	return obj{
		"@type": typeURL + "envoy.config.listener.v3.Listener", "name": "soak",
		"address": obj{"socket_address": obj{"address": "127.0.0.1", "port_value": port}},
		"filter_chains": list{obj{"filters": list{obj{"name": "hcm", "typed_config": obj{
			"@type": hcmURL, "stat_prefix": "soak", "generate_request_id": false,
			"http_filters": list{h.filter(g.base()), obj{"name": "router", "typed_config": obj{"@type": routerURL}}},
			"rds":          obj{"route_config_name": "soak", "config_source": obj{"path_config_source": obj{"path": routes}}},
		}}}}},
	}
}

// publish writes a resource as Envoy's file subscriptions want it: the whole response, moved into place.
func publish(file string, version int, resource obj) error {
	b, err := json.Marshal(obj{"version_info": fmt.Sprint(version), "resources": list{resource}})
	if err != nil {
		return fmt.Errorf("encode a configuration: %w", err)
	}
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// bootstrap is Envoy's own configuration: two upstreams, and where the rest comes from.
func bootstrap(listeners string, v1, v2 int) (string, error) {
	var clusters list
	for i, port := range []int{v1, v2} {
		name := fmt.Sprintf("v%d", i+1)
		clusters = append(clusters, obj{"name": name, "load_assignment": obj{"cluster_name": name, "endpoints": list{obj{"lb_endpoints": list{obj{
			"endpoint": obj{"address": obj{"socket_address": obj{"address": "127.0.0.1", "port_value": port}}}}}}}}})
	}
	b, err := json.Marshal(obj{
		"node":              obj{"id": "soak", "cluster": "soak"},
		"static_resources":  obj{"clusters": clusters},
		"dynamic_resources": obj{"lds_config": obj{"path_config_source": obj{"path": listeners}}},
	})
	return string(b), err
}
