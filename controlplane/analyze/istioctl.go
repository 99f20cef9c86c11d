package analyze

import (
	_ "embed"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Code is a code of diagnostics.
type Code struct {
	Code       string
	Name       string   // istioctl's; "" of our own
	Severities []string // the worst first
	Meaning    string
}

//go:embed codes.txt
var codes string

// Codes are those that the program may print, sorted. The list is generated from the constants and from what the corpora print.
func Codes() []Code {
	var out []Code
	for line := range strings.Lines(codes) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		out = append(out, Code{Code: f[0], Severities: strings.Fields(f[1]), Name: f[2], Meaning: f[3]})
	}
	return out
}

// Istioctl is a code of `istioctl analyze`.
type Istioctl struct {
	Code     string
	Name     string
	Severity istio.Severity
	// Absent says why Mizzen never prints it; "" if it does.
	Absent string
}

const (
	noGatewayAPI = "Mizzen does not read the Gateway API"
	noClusters   = "Mizzen has one cluster"
	noCluster    = "it is about what an installation finds in a Kubernetes cluster"
	noAmbient    = "in Mizzen every workload has its own proxy: nothing is in ambient mode"
	noRemote     = "Mizzen's control plane is not run for clusters elsewhere"
)

// IstioctlCodes lists them all, sorted.
func IstioctlCodes() []Istioctl {
	e, w, i := istio.Error, istio.Warning, istio.Info
	return []Istioctl{
		{"IST0001", "InternalError", e, "a failure of Mizzen's own ends it with status 1, or is told as MZ0604"},
		{"IST0002", "Deprecated", w, ""},
		{"IST0101", "ReferencedResourceNotFound", e, ""},
		{"IST0102", "NamespaceNotInjected", i, ""},
		{"IST0103", "PodMissingProxy", w, ""},
		{"IST0106", "SchemaValidationError", e, ""},
		{"IST0107", "MisplacedAnnotation", w, ""},
		{"IST0108", "UnknownAnnotation", w, ""},
		{"IST0109", "ConflictingMeshGatewayVirtualServiceHosts", e, ""},
		{"IST0110", "ConflictingSidecarWorkloadSelectors", e, ""},
		{"IST0111", "MultipleSidecarsWithoutWorkloadSelectors", e, ""},
		{"IST0112", "VirtualServiceDestinationPortSelectorRequired", e, ""},
		{"IST0116", "DeploymentAssociatedToMultipleServices", w, ""},
		{"IST0118", "PortNameIsNotUnderNamingConvention", i, ""},
		{"IST0123", "NamespaceMultipleInjectionLabels", w, ""},
		{"IST0125", "InvalidAnnotation", w, ""},
		{"IST0126", "UnknownMeshNetworksServiceRegistry", e, noClusters + " and one network"},
		{"IST0127", "NoMatchingWorkloadsFound", w, ""},
		{"IST0128", "NoServerCertificateVerificationDestinationLevel", w, ""},
		{"IST0129", "NoServerCertificateVerificationPortLevel", w, ""},
		{"IST0130", "VirtualServiceUnreachableRule", w, ""},
		{"IST0131", "VirtualServiceIneffectiveMatch", i, ""},
		{"IST0132", "VirtualServiceHostNotFoundInGateway", w, ""},
		{"IST0133", "SchemaWarning", w, "warnings about single objects have codes of their own, by what is wrong: MZ0202, MZ0203, MZ0301"},
		{"IST0134", "ServiceEntryAddressesRequired", w, ""},
		{"IST0135", "DeprecatedAnnotation", i, ""},
		{"IST0136", "AlphaAnnotation", i, ""},
		{"IST0137", "DeploymentConflictingPorts", w, ""},
		{"IST0138", "GatewayDuplicateCertificate", w, ""},
		{"IST0139", "InvalidWebhook", e, "Mizzen's webhook is its own, and serves the configuration that points to it"},
		{"IST0140", "IngressRouteRulesNotAffected", w, ""},
		{"IST0141", "InsufficientPermissions", e, noCluster},
		{"IST0142", "UnsupportedKubernetesVersion", e, noCluster},
		{"IST0143", "LocalhostListener", e, "it takes a look into running pods; the local mesh tells each application the address to listen on (MIZZEN_BIND)"},
		{"IST0144", "InvalidApplicationUID", w, ""},
		{"IST0145", "ConflictingGateways", e, ""},
		{"IST0146", "ImageAutoWithoutInjectionWarning", w, ""},
		{"IST0147", "ImageAutoWithoutInjectionError", e, ""},
		{"IST0148", "NamespaceInjectionEnabledByDefault", i, "it is about a setting of Istio's own webhook"},
		{"IST0149", "JwtClaimBasedRoutingWithoutRequestAuthN", e, ""},
		{"IST0150", "ExternalNameServiceTypeInvalidPortName", w, ""},
		{"IST0151", "EnvoyFilterUsesRelativeOperation", w, ""},
		{"IST0152", "EnvoyFilterUsesReplaceOperationIncorrectly", e, ""},
		{"IST0153", "EnvoyFilterUsesAddOperationIncorrectly", e, ""},
		{"IST0154", "EnvoyFilterUsesRemoveOperationIncorrectly", e, ""},
		{"IST0155", "EnvoyFilterUsesRelativeOperationWithProxyVersion", w, ""},
		{"IST0156", "UnsupportedGatewayAPIVersion", e, noGatewayAPI},
		{"IST0157", "InvalidTelemetryProvider", w, ""},
		{"IST0158", "PodsIstioProxyImageMismatchInNamespace", w, "Mizzen's proxies are stock Envoys; MZ0603 tells of one that lacks Mizzen's module"},
		{"IST0159", "ConflictingTelemetryWorkloadSelectors", e, ""},
		{"IST0160", "MultipleTelemetriesWithoutWorkloadSelectors", e, ""},
		{"IST0161", "InvalidGatewayCredential", e, ""},
		{"IST0162", "GatewayPortNotDefinedOnService", w, ""},
		{"IST0163", "InvalidExternalControlPlaneConfig", w, noRemote},
		{"IST0164", "ExternalControlPlaneAddressIsNotAHostname", i, noRemote},
		{"IST0165", "ReferencedInternalGateway", w, noGatewayAPI + ": there are no gateways that Istio makes for itself"},
		{"IST0166", "IneffectiveSelector", w, noGatewayAPI + ": a selector always selects"},
		{"IST0167", "IneffectivePolicy", w, noAmbient},
		{"IST0168", "UnknownUpgradeCompatibility", w, "Mizzen has no compatibility versions"},
		{"IST0169", "UpdateIncompatibility", w, "Mizzen has no compatibility versions"},
		{"IST0170", "MultiClusterInconsistentService", w, noClusters},
		{"IST0171", "NegativeConditionStatus", w, "Mizzen writes no status into objects: it tells it here"},
		{"IST0172", "FutureUnsupportedGatewayAPIVersion", w, noGatewayAPI},
		{"IST0173", "DestinationRuleSubsetNotSelectPods", e, ""},
		{"IST0174", "UnknownDestinationRuleHost", w, ""},
		{"IST0175", "JwksUriFetchUnrestricted", w, "the control plane fetches no keys: each proxy does, with what it may reach itself"},
		{"IST0176", "GatewayAPICRDVersionBelowMinimum", w, noGatewayAPI},
		{"IST0177", "ConflictingServiceEntryProtocol", w, ""},
	}
}
