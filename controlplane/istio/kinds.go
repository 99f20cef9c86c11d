package istio

import (
	"slices"
	"strings"
)

// Kind is a kind of object that Decode knows.
type Kind struct {
	Name       string   // VirtualService
	Group      string   // networking.istio.io; "" for Kubernetes' core
	Versions   []string // served versions, the preferred one first
	Plural     string   // virtualservices
	Short      []string // vs
	Namespaced bool
	use        use
}

type use uint8

const (
	typed    use = iota // decoded into a list of Set
	kept                // recognised, kept in Set.Others, without meaning here
	refused             // an Istio kind that matters to security or traffic and is not in this version
	obsolete            // a kind that Istio removed
)

// APIVersion is the preferred apiVersion.
func (k Kind) APIVersion() string {
	if k.Group == "" {
		return k.Versions[0]
	}
	return k.Group + "/" + k.Versions[0]
}

// Known returns every kind that Decode accepts, in the order in which `mizzen get all` prints them.
func Known() []Kind {
	return slices.DeleteFunc(allKinds(), func(k Kind) bool { return k.use == refused })
}

// FindKind resolves what a user types: a kind, its plural or a short name, in any case, with or without ".group".
func FindKind(word string) (Kind, bool) {
	word = strings.ToLower(word)
	for _, k := range Known() {
		names := append([]string{strings.ToLower(k.Name), k.Plural}, k.Short...)
		for _, n := range names {
			if word == n || k.Group != "" && word == n+"."+k.Group {
				return k, true
			}
		}
	}
	return Kind{}, false
}

const (
	networkingGroup = "networking.istio.io"
	securityGroup   = "security.istio.io"
	extensionsGroup = "extensions.istio.io"
	configGroup     = "config.istio.io"
	mizzenGroup     = "mizzen.dev"
)

func allKinds() []Kind {
	net := []string{"v1", "v1beta1", "v1alpha3"}
	old := []string{"v1", "v1beta2", "v1beta1"}
	kinds := []Kind{
		{"VirtualService", networkingGroup, net, "virtualservices", []string{"vs"}, true, typed},
		{"DestinationRule", networkingGroup, net, "destinationrules", []string{"dr"}, true, typed},
		{"Gateway", networkingGroup, net, "gateways", []string{"gw"}, true, typed},
		{"ServiceEntry", networkingGroup, net, "serviceentries", []string{"se"}, true, typed},
		{"WorkloadEntry", networkingGroup, net, "workloadentries", []string{"we"}, true, typed},
		{"Sidecar", networkingGroup, net, "sidecars", nil, true, typed},
		{"PeerAuthentication", securityGroup, []string{"v1", "v1beta1"}, "peerauthentications", []string{"pa"}, true, typed},
		{"EnvoyFilter", networkingGroup, []string{"v1alpha3"}, "envoyfilters", nil, true, typed},
		{"Telemetry", "telemetry.istio.io", []string{"v1", "v1alpha1"}, "telemetries", []string{"telemetry"}, true, typed},
		{"AuthorizationPolicy", securityGroup, []string{"v1", "v1beta1"}, "authorizationpolicies", []string{"ap"}, true, typed},
		{"RequestAuthentication", securityGroup, []string{"v1", "v1beta1"}, "requestauthentications", []string{"ra"}, true, typed},
		{"RateLimit", mizzenGroup, []string{"v1alpha1"}, "ratelimits", []string{"rl"}, true, typed},
		{"Service", "", []string{"v1"}, "services", []string{"svc"}, true, typed},
		{"Pod", "", []string{"v1"}, "pods", []string{"po"}, true, typed},
		{"Deployment", "apps", old, "deployments", []string{"deploy"}, true, typed},
		{"StatefulSet", "apps", old, "statefulsets", []string{"sts"}, true, typed},
		{"DaemonSet", "apps", old, "daemonsets", []string{"ds"}, true, typed},
		{"ReplicaSet", "apps", old, "replicasets", []string{"rs"}, true, typed},
		{"Endpoints", "", []string{"v1"}, "endpoints", []string{"ep"}, true, typed},
		{"EndpointSlice", "discovery.k8s.io", []string{"v1"}, "endpointslices", nil, true, typed},
		{"Namespace", "", []string{"v1"}, "namespaces", []string{"ns"}, false, typed},
		{"ConfigMap", "", []string{"v1"}, "configmaps", []string{"cm"}, true, kept},
		{"Secret", "", []string{"v1"}, "secrets", nil, true, typed},
		{"ServiceAccount", "", []string{"v1"}, "serviceaccounts", []string{"sa"}, true, kept},
	}
	return append(kinds, otherKinds()...)
}

func otherKinds() []Kind {
	var kinds []Kind
	add := func(group, version string, namespaced bool, u use, names ...string) {
		for _, n := range names {
			kinds = append(kinds, Kind{n, group, []string{version}, plural(n), nil, namespaced, u})
		}
	}
	add("", "v1", true, kept, "PersistentVolumeClaim", "ReplicationController", "ResourceQuota", "LimitRange", "Event")
	add("", "v1", false, kept, "PersistentVolume")
	add("", "v1", false, typed, "Node")
	kinds = append(kinds, Kind{"WorkloadGroup", networkingGroup, []string{"v1", "v1beta1", "v1alpha3"}, "workloadgroups", []string{"wg"}, true, typed})
	add("batch", "v1", true, kept, "Job", "CronJob")
	add("autoscaling", "v2", true, kept, "HorizontalPodAutoscaler")
	add("policy", "v1", true, kept, "PodDisruptionBudget")
	add("networking.k8s.io", "v1", true, kept, "Ingress", "NetworkPolicy")
	add("networking.k8s.io", "v1", false, kept, "IngressClass")
	add("rbac.authorization.k8s.io", "v1", true, kept, "Role", "RoleBinding")
	add("rbac.authorization.k8s.io", "v1", false, kept, "ClusterRole", "ClusterRoleBinding")
	add("apiextensions.k8s.io", "v1", false, kept, "CustomResourceDefinition")
	add("admissionregistration.k8s.io", "v1", false, kept, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
	add("storage.k8s.io", "v1", false, kept, "StorageClass")
	add("scheduling.k8s.io", "v1", false, kept, "PriorityClass")
	kinds = append(kinds, Kind{"ProxyConfig", networkingGroup, []string{"v1beta1"}, "proxyconfigs", nil, true, typed})
	add(extensionsGroup, "v1alpha1", true, typed, "WasmPlugin", "TrafficExtension")
	add("gateway.networking.k8s.io", "v1", true, refused, "Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute", "ReferenceGrant")
	add(configGroup, "v1alpha2", true, obsolete, "RouteRule", "DestinationPolicy", "EgressRule", "QuotaSpec", "QuotaSpecBinding",
		"rule", "handler", "instance", "quota", "memquota", "redisquota")
	add(configGroup, "v1alpha2", true, obsolete, mixerOthers()...)
	add("authentication.istio.io", "v1alpha1", true, obsolete, "Policy")
	add("authentication.istio.io", "v1alpha1", false, obsolete, "MeshPolicy")
	add("rbac.istio.io", "v1alpha1", true, obsolete, "ServiceRole", "ServiceRoleBinding", "RbacConfig")
	add("rbac.istio.io", "v1alpha1", false, obsolete, "ClusterRbacConfig")
	return kinds
}

func plural(kind string) string {
	k := strings.ToLower(kind)
	switch {
	case strings.HasSuffix(k, "s"):
		return k + "es"
	case strings.HasSuffix(k, "y"):
		return k[:len(k)-1] + "ies"
	}
	return k + "s"
}

// kindOf finds the kind of a document by group and name. Old Kubernetes groups (extensions) count as apps.
func kindOf(kinds []Kind, apiVersion, name string) (Kind, bool) {
	group, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group = ""
	}
	if group == "extensions" {
		if name == "Ingress" || name == "NetworkPolicy" {
			group = "networking.k8s.io"
		} else {
			group = "apps"
		}
	}
	for _, k := range kinds {
		if k.Name == name && k.Group == group {
			return k, true
		}
	}
	return Kind{}, false
}
