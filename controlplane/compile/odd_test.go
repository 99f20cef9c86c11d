package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// oddWorld is a mesh in good order.
const oddWorld = `
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-1, labels: {app: reviews, version: v1}}
spec: {containers: [{name: a, image: a, ports: [{containerPort: 9080}]}]}
status: {podIP: 127.1.0.9, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}
---
`

// oddities are things that a user may write; those under "all" stand alone.
func oddities() map[string]string {
	out := map[string]string{}
	oddActions(out)
	oddMatches(out)
	oddTraffic(out)
	oddEdges(out)
	oddObjects(out)
	return out
}

// oddActions are those of what a rule does with requests.
func oddActions(out map[string]string) {
	for name, http := range map[string]string{
		"header value with newline":    `headers: {request: {set: {x-a: "a\nb"}}}`,
		"header value with percent":    `headers: {request: {set: {x-a: "100%"}}}`,
		"header value of command":      `headers: {request: {set: {x-a: "%DOWNSTREAM_REMOTE_ADDRESS%"}}}`,
		"header value of no command":   `headers: {response: {add: {x-a: "%NOPE%"}}}`,
		"header value of req":          `headers: {response: {add: {x-a: "%REQ(x)%"}}}`,
		"header value of req bad":      `headers: {response: {add: {x-a: "%REQ(x%"}}}`,
		"header value percent percent": `headers: {response: {add: {x-a: "50%% off"}}}`,
		"header value two percents":    `headers: {response: {add: {x-a: "50% of 70%"}}}`,
		"header value long":            `headers: {response: {add: {x-a: "` + strings.Repeat("a", 16385) + `"}}}`,
		"header name long":             `headers: {response: {add: {x-` + strings.Repeat("a", 16385) + `: "a"}}}`,
		"header value not ascii":       `headers: {response: {add: {x-a: "ü"}}}`,
		"header value nul":             `headers: {response: {add: {x-a: "a\0b"}}}`,
		"header host set bad":          `headers: {request: {set: {host: "a b\n"}}}`,
		"header authority set":         `headers: {request: {set: {":authority": "a b"}}}`,
		"header set method":            `headers: {request: {set: {":method": "a"}}}`,
		"header set path":              `headers: {request: {set: {":path": "a"}}}`,
		"header remove host":           `headers: {request: {remove: [host, ":path", ":status"]}}`,
		"header response host":         `headers: {response: {set: {host: a}}}`,
		"rewrite without slash":        `rewrite: {uri: foo}`,
		"rewrite newline":              `rewrite: {uri: "/a\nb"}`,
		"rewrite blank":                `rewrite: {uri: "/a b"}`,
		"rewrite hash":                 `rewrite: {uri: "/a?b#c"}`,
		"rewrite nul":                  `rewrite: {uri: "/a\0b"}`,
		"rewrite authority blank":      `rewrite: {authority: "a b"}`,
		"rewrite authority newline":    `rewrite: {authority: "a\nb"}`,
		"rewrite regex group":          `rewrite: {uriRegexRewrite: {match: "/(a)", rewrite: '/\9'}}`,
		"rewrite regex trailing slash": `rewrite: {uriRegexRewrite: {match: "/(a)", rewrite: '/\'}}`,
		"rewrite regex letter":         `rewrite: {uriRegexRewrite: {match: "/(a)", rewrite: '/\k'}}`,
		"rewrite regex newline":        `rewrite: {uriRegexRewrite: {match: "/(a)", rewrite: "/\n"}}`,
		"redirect uri newline":         `redirect: {uri: "/a\nb"}`,
		"redirect uri no slash":        `redirect: {uri: "foo"}`,
		"redirect authority newline":   `redirect: {authority: "a\nb"}`,
		"redirect prefix newline":      `redirect: {prefixRewrite: "/a\nb"}`,
		"redirect path with hash":      `redirect: {uri: "/a?b=c#d"}`,
		"direct with empty body":       `directResponse: {status: 200, body: {string: ""}}`,
		"direct large":                 `directResponse: {status: 200, body: {string: "` + strings.Repeat("a", 1<<20) + `"}}`,
		"timeout huge":                 `timeout: 300000000000s`,
		"timeout 9 million hours":      `timeout: 9000000h`,
		"delay huge":                   `fault: {delay: {fixedDelay: 2000000h, percentage: {value: 1}}}`,
		"per try huge":                 `retries: {attempts: 3, retryOn: 5xx, perTryTimeout: 300000000000s}`,
		"backoff huge":                 `retries: {attempts: 3, retryOn: 5xx, backoff: 300000000000s}`,
		"backoff 1h":                   `retries: {attempts: 3, retryOn: 5xx, backoff: 1h}`,
		"attempts huge":                `retries: {attempts: 2147483647, retryOn: 5xx}`,
		"retry codes":                  `retries: {attempts: 3, retryOn: "100,599,101"}`,
		"cors":                         `corsPolicy: {allowOrigins: [{regex: "(?i)a"}], maxAge: 300000000000s, allowCredentials: true, exposeHeaders: ["x-a"]}`,
		"mirror tiny":                  `mirror: {host: reviews}, mirrorPercentage: {value: 0.0001}`,
		"fault tiny":                   `fault: {abort: {httpStatus: 599, percentage: {value: 0.0001}}}`,
		"fault 200":                    `fault: {abort: {httpStatus: 200, percentage: {value: 100}}}`,
		"name newline":                 `name: "a\nb"`,
		"name long":                    `name: ` + strings.Repeat("n", 1001),
	} {
		out["all http "+name] = vsWith(len(out), http, "")
	}
}

// oddMatches are those of which requests a rule is for.
func oddMatches(out map[string]string) {
	for name, match := range map[string]string{
		"query without name":     `queryParams: {"": {exact: a}}`,
		"query odd name":         `queryParams: {"a b=&": {exact: a}}`,
		"query regex":            `queryParams: {a: {regex: "(?P<x>a)"}}`,
		"header long name":       `headers: {` + strings.Repeat("a", 20000) + `: {exact: a}}`,
		"header upper":           `headers: {X-UPPER: {exact: a}}`,
		"header pseudo":          `headers: {":path": {exact: a}}`,
		"header odd pseudo":      `headers: {":foo": {exact: a}}`,
		"header newline value":   `headers: {a: {exact: "a\nb"}}`,
		"without pseudo":         `withoutHeaders: {":method": {exact: a}}`,
		"header cookie":          `headers: {cookie: {regex: "^(.*?;)?(user=jason)(;.*)?$"}}`,
		"regex unicode many":     `uri: {regex: "\\pL{1000}"}`,
		"regex class many":       `uri: {regex: "(\\pL\\pN){400}"}`,
		"regex nested":           `uri: {regex: "((a{30}){30})"}`,
		"regex largest":          `uri: {regex: "(` + strings.Repeat(`\\\\pL{1000}`, 100) + `)"}`,
		"regex alternating":      `uri: {regex: "[acegikmoqsuwyACEGIKMOQSUWY13579]{999}"}`,
		"regex alternating more": `uri: {regex: "[acegikmoqsuwyACEGIKMOQSUWY13579]{900}[acegikmoqsuwyACEGIKMOQSUWY13579]{120}"}`,
		"regex nots":             `uri: {regex: "([^aceg]*x){1000}"}`,
		"regex wide":             `uri: {regex: ".{1000}"}`,
		"regex lazy":             `uri: {regex: "/.*?"}`,
		"regex named":            `uri: {regex: "/(?<name>a)"}`,
		"regex quote":            `uri: {regex: "/\\Q.*\\E"}`,
		"regex z":                `uri: {regex: "\\A/a\\z"}`,
		"regex flags":            `uri: {regex: "(?isU)/a"}`,
		"regex byte":             `uri: {regex: "/\\C"}`,
		"regex script":           `uri: {regex: "/\\p{Greek}\\p{^Lu}\\P{Han}"}`,
		"regex new script":       `uri: {regex: "/\\p{Kawi}"}`,
		"regex any":              `uri: {regex: "/\\p{Any}"}`,
		"regex ascii class":      `uri: {regex: "/[[:word:]]\\x{10FFFF}\\123"}`,
		"regex category long":    `uri: {regex: "/\\p{Letter}"}`,
		"regex lc":               `uri: {regex: "/\\p{LC}\\p{Cn}"}`,
		"regex ascii name":       `uri: {regex: "/\\p{ASCII}"}`,
		"regex long alternation": `uri: {regex: "` + strings.TrimSuffix(strings.Repeat("a|", 500), "|") + `"}`,
		"header regex big":       `headers: {a: {regex: "\\pL{500}"}}`,
		"exact with query":       `uri: {exact: "/a?b=c"}`,
		"exact with hash":        `uri: {exact: "/a#c"}`,
		"prefix with query":      `uri: {prefix: "/a?b=c"}`,
		"exact nul":              `uri: {exact: "/a\0"}`,
		"exact relative":         `uri: {exact: "a"}`,
		"method odd":             `method: {regex: "G.T"}`,
		"authority prefix":       `authority: {prefix: "a"}`,
		"name":                   `name: "a b\n.%"`,
		"scheme":                 `scheme: {exact: ftp}`,
		"port":                   `port: 65535`,
	} {
		out["all match "+name] = vsWith(len(out), "", match)
	}
}

// oddTraffic are those of policies and hosts that traffic goes to.
func oddTraffic(out map[string]string) {
	for name, policy := range map[string]string{
		"ring huge":             `loadBalancer: {consistentHash: {httpHeaderName: a, ringHash: {minimumRingSize: 8388608}}}`,
		"ring 1":                `loadBalancer: {consistentHash: {httpHeaderName: a, ringHash: {minimumRingSize: 1}}}`,
		"maglev":                `loadBalancer: {consistentHash: {httpHeaderName: a, maglev: {tableSize: 5000009}}}`,
		"cookie":                `loadBalancer: {consistentHash: {httpCookie: {name: "a b;", path: "a\n;", ttl: 300000000000s}}}`,
		"hash header pseudo":    `loadBalancer: {consistentHash: {httpHeaderName: ":path"}}`,
		"hash query":            `loadBalancer: {consistentHash: {httpQueryParameterName: "a b&"}}`,
		"warmup":                `loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 300000000000s, aggression: 0, minimumPercent: 200}}`,
		"warmup negative":       `loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s, aggression: -1, minimumPercent: -5}}`,
		"warmup small":          `loadBalancer: {simple: LEAST_REQUEST, warmup: {duration: 1s, aggression: 0.5, minimumPercent: 0}}`,
		"connect timeout":       `connectionPool: {tcp: {connectTimeout: 300000000000s}}`,
		"connect timeout hours": `connectionPool: {tcp: {connectTimeout: 1000000h}}`,
		"keepalive":             `connectionPool: {tcp: {tcpKeepalive: {time: 300000000000s, interval: 300000000000s, probes: 4294967295}}}`,
		"durations":             `connectionPool: {tcp: {idleTimeout: 300000000000s, maxConnectionDuration: 300000000000s}, http: {idleTimeout: 300000000000s}}`,
		"streams":               `connectionPool: {http: {maxConcurrentStreams: 2147483647, h2UpgradePolicy: UPGRADE, http2MaxRequests: 2147483647, maxRequestsPerConnection: 2147483647}}`,
		"outlier base long":     `outlierDetection: {baseEjectionTime: 1h, consecutive5xxErrors: 4294967295}`,
		"outlier huge":          `outlierDetection: {baseEjectionTime: 300000000000s, interval: 300000000000s}`,
		"tls simple":            `tls: {mode: SIMPLE, sni: "a b"}`,
		"locality":              `loadBalancer: {localityLbSetting: {enabled: true}}`,
	} {
		out["all policy "+name] = fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: odd-%[1]d}\nspec: {host: odd-%[1]d.example.com, trafficPolicy: {%[2]s}}\n---\n", len(out), policy) + own(len(out))
	}
	for name, spec := range map[string]string{
		"hosts by case":        `hosts: [Example.com, example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"hosts with dot":       `hosts: [example.com., example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"zone":                 `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "fe80::1%eth0"}]`,
		"mapped":               `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "::ffff:1.2.3.4"}]`,
		"weights":              `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, weight: 4294967295}, {address: 1.2.3.5, weight: 4294967295}]`,
		"twice":                `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}, {address: 1.2.3.4}]`,
		"weights dns":          `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, endpoints: [{address: localhost, weight: 4294967295}, {address: localhost, weight: 4294967295}]`,
		"weights localities":   `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, locality: a, weight: 4294967295}, {address: 1.2.3.5, locality: b, weight: 4294967295}]`,
		"unix":                 `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "unix:///a/` + strings.Repeat("b", 200) + `"}]`,
		"unix abstract":        `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "unix://@a"}]`,
		"unix dns":             `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, endpoints: [{address: "unix:///a"}]`,
		"mixed dns":            `hosts: [example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, endpoints: [{address: "1.2.3.4"}, {address: localhost}, {address: "::1"}]`,
		"dns rr two hosts":     `hosts: [a.com, b.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS_ROUND_ROBIN`,
		"host of a service":    `hosts: [reviews.default.svc.cluster.local], ports: [{number: 9080, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"short host":           `hosts: [reviews], ports: [{number: 9080, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"half host":            `hosts: [reviews.default.svc, reviews.default], ports: [{number: 9080, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"address of a service": `hosts: [a.com, b.com], addresses: [10.96.0.1], ports: [{number: 9080, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"address tcp twice":    `hosts: [a.com, b.com], addresses: [10.96.0.1], ports: [{number: 9090, name: tcp, protocol: TCP}, {number: 9091, name: tls, protocol: TLS}, {number: 9080, name: tcp2, protocol: TCP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"address zone":         `hosts: [a.com], addresses: ["fe80::1%eth0"], ports: [{number: 9090, name: tcp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"address six":          `hosts: [a.com], addresses: ["2001:db8::1", "2001:DB8:0::1", "::"], ports: [{number: 9090, name: tcp, protocol: TCP}, {number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: "2001:db8::2"}]`,
		"address any":          `hosts: [a.com], addresses: ["0.0.0.0", "127.0.0.1"], ports: [{number: 9080, name: tcp, protocol: TCP}, {number: 15001, name: tcp2, protocol: TCP}, {number: 15006, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"tcp on http port":     `hosts: [a.com], ports: [{number: 9080, name: tcp, protocol: TCP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"ports of proxy":       `hosts: [a.com], ports: [{number: 15000, name: tcp, protocol: TCP}, {number: 15001, name: http, protocol: HTTP}, {number: 15006, name: tcp2, protocol: TCP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"port name odd":        `hosts: [a.com], ports: [{number: 8081, name: "a b\n", protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]`,
		"wildcards":            `hosts: ["*.a.com", "*.A.com", "*.com"], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE`,
		"long host":            `hosts: [` + strings.Repeat("aaaaaaaaa.", 24) + `com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS`,
		"underscore":           `hosts: [_a_.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS`,
		"locality odd":         `hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, locality: "a b/\n/c"}]`,
		"subset odd":           `hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4, labels: {a: b}, network: x}]`,
		"grpc and https":       `hosts: [a.com], ports: [{number: 80, name: grpc, protocol: GRPC}, {number: 443, name: https, protocol: HTTPS}, {number: 27017, name: mongo, protocol: MONGO}, {number: 53, name: udp, protocol: UDP}], resolution: DNS`,
	} {
		out["entry "+name] = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: odd}\nspec: {" + spec + "}\n"
	}
}

// oddEdges are those of gateways, hosts, stickiness and limits.
func oddEdges(out map[string]string) {
	for name, servers := range map[string]string{
		"hosts by case":    `[{port: {number: 80, name: http, protocol: HTTP}, hosts: [A.com, a.com]}]`,
		"same port":        `[{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com]}, {port: {number: 80, name: b, protocol: HTTP2}, hosts: [a.com, b.com]}]`,
		"tcp on same port": `[{port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com]}, {port: {number: 80, name: b, protocol: TCP}, hosts: ["*"]}]`,
		"binds":            `[{bind: 127.0.0.1, port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com]}, {bind: 127.0.0.2, port: {number: 80, name: b, protocol: HTTP}, hosts: ["*"]}]`,
		"bind six":         `[{bind: "::1", port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com]}, {bind: "::0:1", port: {number: 80, name: c, protocol: HTTP}, hosts: [a.com]}]`,
		"bind zone":        `[{bind: "fe80::1%eth0", port: {number: 80, name: a, protocol: HTTP}, hosts: [a.com]}]`,
		"namespaces":       `[{port: {number: 80, name: a, protocol: HTTP}, hosts: ["*/a.com", "default/a.com", "./a.com", a.com]}]`,
		"https and http":   `[{port: {number: 80, name: a, protocol: HTTP}, hosts: ["*"]}, {port: {number: 80, name: b, protocol: HTTPS}, tls: {mode: PASSTHROUGH}, hosts: ["*"]}]`,
		"redirect":         `[{port: {number: 80, name: a, protocol: HTTP}, tls: {httpsRedirect: true}, hosts: ["*", a.com]}]`,
		"target of mizzen": `[{port: {number: 15000, name: a, protocol: HTTP}, hosts: ["*"]}]`,
	} {
		out["gateway "+name] = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: odd}\nspec: {selector: {istio: ingressgateway}, servers: " + servers + "}\n---\n" +
			"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd}\nspec: {hosts: [\"*\"], gateways: [odd], http: [{route: [{destination: {host: reviews}}]}]}\n---\n" +
			"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd2}\nspec: {hosts: [\"*\", a.com, A.com, \"*.com\"], gateways: [odd, front], http: [{route: [{destination: {host: reviews}}]}]}\n"
	}
	for name, hosts := range map[string]string{
		"same twice":       `[reviews, reviews.default.svc.cluster.local]`,
		"by case":          `[a.com, A.COM]`,
		"dots":             `[a.com, a.com.]`,
		"addresses":        `[10.96.0.1, "2001:db8::1", "2001:DB8::1", "fe80::1%eth0"]`,
		"wildcards":        `["*.com", "*.COM", "*.default.svc.cluster.local"]`,
		"service and case": `[Reviews]`,
		"halves":           `[reviews.default, reviews.default.svc, reviews]`,
	} {
		out["hosts "+name] = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd}\nspec: {hosts: " + hosts + ", gateways: [mesh, front], http: [{route: [{destination: {host: reviews}}]}]}\n"
	}
	for name, sticky := range map[string]string{
		"cookie name":   `mizzen.dev/sticky: "cookie=a b;ttl=1h"`,
		"cookie path":   `mizzen.dev/sticky: "cookie=a;ttl=1h;path=/a b"`,
		"cookie ttl":    `mizzen.dev/sticky: "cookie=a;ttl=-1h"`,
		"cookie ttl 2":  `mizzen.dev/sticky: "cookie=a;ttl=2000000h"`,
		"header":        `mizzen.dev/sticky: "header=a b"`,
		"header pseudo": `mizzen.dev/sticky: "header=:path"`,
		"decision":      `mizzen.dev/decision-header: "a b"`,
		"decision 2":    `mizzen.dev/decision-header: ":path"`,
		"decision 3":    `mizzen.dev/decision-header: ""`,
		"both":          `mizzen.dev/sticky: "trace-id"`,
	} {
		out["all sticky "+name] = fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd-%[1]d, annotations: {%[2]s}}\n"+
			"spec: {hosts: [odd-%[1]d.example.com], gateways: [mesh, front], http: [{route: [{destination: {host: reviews}, weight: 10}, {destination: {host: other.example.com}, weight: 90}]}]}\n---\n", len(out), sticky) + own(len(out))
	}
	for name, limit := range map[string]string{
		"zero":     `requests: 0, per: 1s`,
		"per zero": `requests: 1, per: 0s`,
		"huge":     `requests: 4294967295, per: 1ms, burst: 4294967295`,
		"per long": `requests: 1, per: 2000000h`,
		"per nano": `requests: 1, per: 1ns`,
		"regex":    `requests: 1, per: 1s, match: [{uri: {regex: "\\pL{1000}"}}]`,
		"query":    `requests: 1, per: 1s, match: [{queryParams: {"": {exact: a}}}]`,
		"key":      `requests: 1, per: 1s, key: [{header: "a b"}]`,
		"cookie":   `requests: 1, per: 1s, key: [{cookie: "a b"}]`,
		"shadow":   `requests: 1, per: 1s, action: shadow, key: [{sourceAddress: {}}]`,
		"name":     `name: "a\nb", requests: 1, per: 1s`,
	} {
		out["limit "+name] = "apiVersion: mizzen.dev/v1alpha1\nkind: RateLimit\nmetadata: {name: odd}\nspec: {limits: [{" + limit + "}]}\n"
	}
}

// oddObjects are those of weights, and whole objects.
func oddObjects(out map[string]string) {
	out["weights"] = vsRoute(`[{destination: {host: reviews}, weight: 2147483647}, {destination: {host: reviews, subset: b}, weight: 2147483647}, {destination: {host: reviews, subset: c}, weight: 2147483647}]`)
	out["weights zero"] = vsRoute(`[{destination: {host: reviews}, weight: 0}, {destination: {host: reviews, subset: b}, weight: 0}]`)
	out["weights zero and one"] = vsRoute(`[{destination: {host: reviews}, weight: 0}, {destination: {host: reviews, subset: b}, weight: 1}]`)
	out["weights same twice"] = vsRoute(`[{destination: {host: reviews}, weight: 50}, {destination: {host: reviews}, weight: 50}]`)
	out["subset long"] = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\nspec: {host: reviews, subsets: [{name: " + strings.Repeat("s", 1001) + "}]}\n"
	for name, doc := range map[string]string{
		"service port 0":        `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {ports: [{port: 0}]}}`,
		"service port 70000":    `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {ports: [{port: 70000, name: http}, {port: -1, name: tcp}]}}`,
		"service bad ip":        `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {clusterIP: garbage, ports: [{port: 81, name: http}, {port: 82, name: tcp}]}}`,
		"service same ip":       `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {clusterIP: 10.96.0.1, ports: [{port: 9080, name: http}]}}`,
		"service name bad":      `{apiVersion: v1, kind: Service, metadata: {name: "Odd one!"}, spec: {ports: [{port: 9080, name: http}]}}`,
		"service name case":     `{apiVersion: v1, kind: Service, metadata: {name: Reviews}, spec: {ports: [{port: 9080, name: http}]}}`,
		"service name long":     `{apiVersion: v1, kind: Service, metadata: {name: ` + strings.Repeat("a", 1001) + `}, spec: {ports: [{port: 9080, name: http}]}}`,
		"service ports twice":   `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {ports: [{port: 9080, name: http}, {port: 9080, name: http}, {port: 9080, name: tcp}]}}`,
		"service external":      `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {type: ExternalName, externalName: "bad host!", ports: [{port: 80, name: http}]}}`,
		"service external ip":   `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {type: ExternalName, externalName: "1.2.3.4", ports: [{port: 80, name: http}]}}`,
		"service udp and tcp":   `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {ports: [{port: 53, name: dns, protocol: UDP}, {port: 53, name: tcp-dns}]}}`,
		"service target":        `{apiVersion: v1, kind: Service, metadata: {name: odd}, spec: {selector: {app: reviews}, ports: [{port: 80, name: http, targetPort: 99999}]}}`,
		"pod bad ip":            `{apiVersion: v1, kind: Pod, metadata: {name: odd, labels: {app: reviews}}, status: {podIP: garbage, conditions: [{type: Ready, status: "True"}]}}`,
		"pod zone ip":           `{apiVersion: v1, kind: Pod, metadata: {name: odd, labels: {app: reviews}}, status: {podIP: "fe80::1%eth0", conditions: [{type: Ready, status: "True"}]}}`,
		"pod same ip":           `{apiVersion: v1, kind: Pod, metadata: {name: odd, labels: {app: reviews}}, status: {podIP: 127.1.0.9, conditions: [{type: Ready, status: "True"}]}}`,
		"slice garbage":         `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: odd, labels: {kubernetes.io/service-name: reviews}}, addressType: IPv4, endpoints: [{addresses: [garbage, "1.2.3.4"]}], ports: [{port: 9080, name: http}]}`,
		"slice names":           `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: odd, labels: {kubernetes.io/service-name: reviews}}, addressType: FQDN, endpoints: [{addresses: [a.com]}], ports: [{port: 9080, name: http}]}`,
		"slice port":            `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: odd, labels: {kubernetes.io/service-name: reviews}}, addressType: IPv4, endpoints: [{addresses: [1.2.3.4]}], ports: [{port: 99080, name: http}]}`,
		"endpoints garbage":     `{apiVersion: v1, kind: Endpoints, metadata: {name: reviews}, subsets: [{addresses: [{ip: garbage}], ports: [{port: 9080, name: http}]}]}`,
		"workload entry zone":   `{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: odd}, spec: {address: "fe80::1%eth0", labels: {app: reviews}}}`,
		"workload entry name":   `{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: odd}, spec: {address: "a.com", labels: {app: reviews}}}`,
		"workload entry weight": `{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {name: odd}, spec: {address: "1.2.3.4", weight: 4294967295, labels: {app: reviews}}}`,
	} {
		out["k8s "+name] = doc + "\n"
	}
}

// own is a service of the i-th oddity's.
func own(i int) string {
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: odd-%[1]d}\n"+
		"spec: {hosts: [odd-%[1]d.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 1.2.3.4}]}\n", i)
}

func vsWith(i int, extra, match string) string {
	if match != "" {
		extra = "match: [{" + match + "}]"
	}
	route := ", route: [{destination: {host: reviews}}]"
	if strings.HasPrefix(extra, "redirect") || strings.HasPrefix(extra, "direct") {
		route = ""
	}
	return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd-%[1]d}\n"+
		"spec: {hosts: [odd-%[1]d.example.com], gateways: [mesh, front], http: [{%[2]s}, {route: [{destination: {host: reviews}}]}]}\n---\n", i, extra+route) + own(i)
}

func vsRoute(route string) string {
	return "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: odd}\nspec: {hosts: [reviews], gateways: [mesh, front], http: [{route: " + route + "}]}\n" +
		"---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: reviews}\nspec: {host: reviews, subsets: [{name: b}, {name: c}]}\n"
}

// TestOddities: Envoy accepts whatever validation lets pass. Those that cannot get in each other's way share one world.
func TestOddities(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts Envoys for many oddities")
	}
	envoytest.Find(t)
	module := envoytest.Module(t)
	worlds := map[string]string{}
	for name, yaml := range oddities() {
		if strings.HasPrefix(name, "all ") {
			name = "all"
		}
		worlds[name] += "---\n" + yaml
	}
	gateway := nodeFile{Gateway: true, Name: "gw", Labels: map[string]string{"istio": "ingressgateway"}}
	for name, yaml := range worlds {
		t.Run(name, func(t *testing.T) {
			set, _ := istio.Decode("odd.yaml", strings.NewReader(oddWorld+yaml))
			w, _ := compile.World(compile.Inputs{Set: set})
			nodes := []nodeFile{{Intercepts: true}}
			switch kind, _, _ := strings.Cut(name, " "); kind {
			case "gateway":
				nodes = []nodeFile{gateway}
			case "all":
				nodes = []nodeFile{{}, {Intercepts: true}, {NoModule: true}, gateway}
			case "hosts":
				nodes = []nodeFile{{Intercepts: true}, gateway}
			case "limit":
				nodes = []nodeFile{{Name: "reviews-1", IP: "127.1.0.9", Labels: map[string]string{"app": "reviews"}}}
			}
			cache := view.NewCache(w)
			for _, f := range nodes {
				if out, err := refused(t, cache.Of(f.node()), module); err != nil || strings.Contains(out, "error adding") {
					t.Errorf("%+v: %v\n%s", f, err, out[:min(1500, len(out))])
				}
			}
		})
	}
}

// withRuntime adds the setting of our bootstrap, and Istio's, that regular expressions need.
func withRuntime(boot string) string {
	return strings.Replace(boot, "{", `{"layeredRuntime":{"layers":[{"name":"s","staticLayer":{"re2.max_program_size.error_level":32768}}]},`, 1)
}

func refused(t *testing.T, v *mesh.View, module string) (string, error) {
	if _, err := xdsgen.Build(v); err != nil {
		return "", err
	}
	return envoytest.Validate(t, withRuntime(static(t, v)), module)
}
