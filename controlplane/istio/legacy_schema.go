package istio

import (
	"reflect"
	"strings"
)

// The kinds that Istio removed, as they were: field names of routing v1alpha2 (istio/api before July 2018), authentication and rbac
// v1alpha1 (before 2020) and Mixer's policy kinds. Only their JSON form is used, to tell a misspelt field from one with a meaning.

type oldService struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	Domain    string            `json:"domain"`
	Service   string            `json:"service"`
	Labels    map[string]string `json:"labels"`
}

type oldString struct {
	Exact  string `json:"exact"`
	Prefix string `json:"prefix"`
	Suffix string `json:"suffix"`
	Regex  string `json:"regex"`
}

type oldSubnets struct {
	SourceSubnet      []string `json:"sourceSubnet"`
	DestinationSubnet []string `json:"destinationSubnet"`
}

type oldRouteRule struct {
	Destination oldService `json:"destination"`
	Precedence  int32      `json:"precedence"`
	Match       struct {
		Source  oldService `json:"source"`
		TCP     oldSubnets `json:"tcp"`
		UDP     oldSubnets `json:"udp"`
		Request struct {
			Headers map[string]oldString `json:"headers"`
		} `json:"request"`
	} `json:"match"`
	Route []struct {
		Destination oldService        `json:"destination"`
		Labels      map[string]string `json:"labels"`
		Weight      int32             `json:"weight"`
	} `json:"route"`
	Redirect struct {
		URI       string `json:"uri"`
		Authority string `json:"authority"`
	} `json:"redirect"`
	Rewrite struct {
		URI       string `json:"uri"`
		Authority string `json:"authority"`
	} `json:"rewrite"`
	WebsocketUpgrade bool `json:"websocketUpgrade"`
	HTTPReqTimeout   struct {
		SimpleTimeout struct {
			Timeout            string `json:"timeout"`
			OverrideHeaderName string `json:"overrideHeaderName"`
		} `json:"simpleTimeout"`
		Custom any `json:"custom"`
	} `json:"httpReqTimeout"`
	HTTPReqRetries struct {
		SimpleRetry struct {
			Attempts           int32  `json:"attempts"`
			PerTryTimeout      string `json:"perTryTimeout"`
			OverrideHeaderName string `json:"overrideHeaderName"`
		} `json:"simpleRetry"`
		Custom any `json:"custom"`
	} `json:"httpReqRetries"`
	HTTPFault struct {
		Delay struct {
			Percent            float64 `json:"percent"`
			FixedDelay         string  `json:"fixedDelay"`
			ExponentialDelay   string  `json:"exponentialDelay"`
			OverrideHeaderName string  `json:"overrideHeaderName"`
		} `json:"delay"`
		Abort struct {
			Percent            float64 `json:"percent"`
			HTTPStatus         int32   `json:"httpStatus"`
			GRPCStatus         string  `json:"grpcStatus"`
			HTTP2Error         string  `json:"http2Error"`
			OverrideHeaderName string  `json:"overrideHeaderName"`
		} `json:"abort"`
	} `json:"httpFault"`
	L4Fault    any        `json:"l4Fault"`
	Mirror     oldService `json:"mirror"`
	CorsPolicy struct {
		AllowOrigin      []string `json:"allowOrigin"`
		AllowMethods     []string `json:"allowMethods"`
		AllowHeaders     []string `json:"allowHeaders"`
		ExposeHeaders    []string `json:"exposeHeaders"`
		MaxAge           string   `json:"maxAge"`
		AllowCredentials bool     `json:"allowCredentials"`
	} `json:"corsPolicy"`
	AppendHeaders map[string]string `json:"appendHeaders"`
}

type oldDestinationPolicy struct {
	Destination   oldService `json:"destination"`
	Source        oldService `json:"source"`
	LoadBalancing struct {
		Name   string `json:"name"`
		Custom any    `json:"custom"`
	} `json:"loadBalancing"`
	CircuitBreaker struct {
		SimpleCb struct {
			MaxConnections               int32  `json:"maxConnections"`
			HTTPMaxPendingRequests       int32  `json:"httpMaxPendingRequests"`
			HTTPMaxRequests              int32  `json:"httpMaxRequests"`
			SleepWindow                  string `json:"sleepWindow"`
			HTTPConsecutiveErrors        int32  `json:"httpConsecutiveErrors"`
			HTTPDetectionInterval        string `json:"httpDetectionInterval"`
			HTTPMaxRequestsPerConnection int32  `json:"httpMaxRequestsPerConnection"`
			HTTPMaxEjectionPercent       int32  `json:"httpMaxEjectionPercent"`
			HTTPMaxRetries               int32  `json:"httpMaxRetries"`
		} `json:"simpleCb"`
		Custom any `json:"custom"`
	} `json:"circuitBreaker"`
}

type oldEgressRule struct {
	Destination oldService `json:"destination"`
	Ports       []struct {
		Port     int32  `json:"port"`
		Protocol string `json:"protocol"`
	} `json:"ports"`
	UseEgressProxy bool `json:"useEgressProxy"`
}

type oldJWT struct {
	Issuer       string   `json:"issuer"`
	Audiences    []string `json:"audiences"`
	JwksURI      string   `json:"jwksUri"`
	Jwks         string   `json:"jwks"`
	JwtHeaders   []string `json:"jwtHeaders"`
	JwtParams    []string `json:"jwtParams"`
	TriggerRules []struct {
		ExcludedPaths []oldString `json:"excludedPaths"`
		IncludedPaths []oldString `json:"includedPaths"`
	} `json:"triggerRules"`
}

type oldAuthentication struct {
	Targets []struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
		Ports  []struct {
			Number int32  `json:"number"`
			Name   string `json:"name"`
		} `json:"ports"`
	} `json:"targets"`
	Peers []struct {
		Mtls struct {
			AllowTLS bool   `json:"allowTls"`
			Mode     string `json:"mode"`
		} `json:"mtls"`
		Jwt oldJWT `json:"jwt"`
	} `json:"peers"`
	PeerIsOptional bool `json:"peerIsOptional"`
	Origins        []struct {
		Jwt oldJWT `json:"jwt"`
	} `json:"origins"`
	OriginIsOptional bool   `json:"originIsOptional"`
	PrincipalBinding string `json:"principalBinding"`
}

type oldAccessRule struct {
	Services    []string `json:"services"`
	Hosts       []string `json:"hosts"`
	NotHosts    []string `json:"notHosts"`
	Methods     []string `json:"methods"`
	NotMethods  []string `json:"notMethods"`
	Paths       []string `json:"paths"`
	NotPaths    []string `json:"notPaths"`
	Ports       []int32  `json:"ports"`
	NotPorts    []int32  `json:"notPorts"`
	Constraints []struct {
		Key    string   `json:"key"`
		Values []string `json:"values"`
	} `json:"constraints"`
}

type oldServiceRole struct {
	Rules []oldAccessRule `json:"rules"`
}

type oldServiceRoleBinding struct {
	Subjects []struct {
		User          string            `json:"user"`
		Group         string            `json:"group"`
		Properties    map[string]string `json:"properties"`
		Names         []string          `json:"names"`
		NotNames      []string          `json:"notNames"`
		Groups        []string          `json:"groups"`
		NotGroups     []string          `json:"notGroups"`
		Namespaces    []string          `json:"namespaces"`
		NotNamespaces []string          `json:"notNamespaces"`
		IPs           []string          `json:"ips"`
		NotIPs        []string          `json:"notIps"`
	} `json:"subjects"`
	RoleRef struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"roleRef"`
	Role    string          `json:"role"`
	Actions []oldAccessRule `json:"actions"`
	Mode    string          `json:"mode"`
}

type oldRbacTarget struct {
	Services          []string `json:"services"`
	Namespaces        []string `json:"namespaces"`
	WorkloadSelectors any      `json:"workloadSelectors"`
}

type oldRbacConfig struct {
	Mode            string        `json:"mode"`
	Inclusion       oldRbacTarget `json:"inclusion"`
	Exclusion       oldRbacTarget `json:"exclusion"`
	EnforcementMode string        `json:"enforcementMode"`
}

// legacySchema is the JSON form of an old kind's spec; nil: Mixer's, where adapters and templates had fields of their own.
func legacySchema(kind string) reflect.Type {
	switch kind {
	case "RouteRule":
		return reflect.TypeFor[oldRouteRule]()
	case "DestinationPolicy":
		return reflect.TypeFor[oldDestinationPolicy]()
	case "EgressRule":
		return reflect.TypeFor[oldEgressRule]()
	case "Policy", "MeshPolicy":
		return reflect.TypeFor[oldAuthentication]()
	case "ServiceRole":
		return reflect.TypeFor[oldServiceRole]()
	case "ServiceRoleBinding":
		return reflect.TypeFor[oldServiceRoleBinding]()
	case "RbacConfig", "ClusterRbacConfig":
		return reflect.TypeFor[oldRbacConfig]()
	}
	return nil
}

// camel gives the fields of n that a Go type names their JSON spelling: those of the time also took the protobuf one, use_egress_proxy.
func camel(t reflect.Type, n *node) {
	switch {
	case t.Kind() == reflect.Slice && n.kind == listNode:
		for _, item := range n.items {
			camel(t.Elem(), item)
		}
	case t.Kind() == reflect.Map && n.kind == mapNode:
		for _, f := range n.fields {
			camel(t.Elem(), f.value)
		}
	case t.Kind() == reflect.Struct && n.kind == mapNode:
		known := map[string]reflect.Type{}
		var order []string
		jsonFields(t, known, &order)
		spelling := make(map[string]string, len(order))
		for _, name := range order {
			spelling[strings.ToLower(name)] = name
		}
		for i := range n.fields {
			f := &n.fields[i]
			if name := spelling[strings.ToLower(strings.ReplaceAll(f.key, "_", ""))]; name != "" && known[f.key] == nil && n.find(name) == nil && strings.Contains(f.key, "_") {
				f.key = name
			}
			if ft := known[f.key]; ft != nil {
				camel(ft, f.value)
			}
		}
	}
}
