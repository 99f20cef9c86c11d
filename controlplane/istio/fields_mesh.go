package istio

// Reasons that several fields share.
const (
	noIngress = "Kubernetes Ingress is not read: write a Gateway and a VirtualService"
	oneMesh   = "Mizzen has one cluster: every service is local to it"
	ownStart  = "Envoy is started by a bootstrap of Mizzen's own; which Envoy, and where its files are, --envoy and --config-dir say"
)

// meshConfigRules is the support table of MeshConfig, but for its providers.
func meshConfigRules() []supportRule {
	return []supportRule{
		yes("MeshConfig", "rootNamespace outboundTrafficPolicy accessLogFile accessLogFormat accessLogEncoding connectTimeout defaultHttpRetryPolicy defaultConfig extensionProviders defaultProviders enableTracing localityLbSetting enablePrometheusMerge"),
		yes("MeshConfig", "defaultServiceExportTo defaultVirtualServiceExportTo defaultDestinationRuleExportTo serviceEntryVisibility discoverySelectors"),
		yes("MeshConfig", "proxyListenPort proxyInboundListenPort proxyHttpPort protocolDetectionTimeout inboundTrafficPolicy pathNormalization"),
		yes("MeshConfig", "tcpKeepalive h2UpgradePolicy dnsRefreshRate defaultTrafficPolicy zoneAwareLbSetting inboundClusterStatName outboundClusterStatName"),
		yes("MeshConfig", "trustDomain enableAutoMtls verifyCertificateAtClient meshMTLS tlsDefaults"),
		idle("MeshConfig", "hboneIdleTimeout", "it is for ztunnel, and Mizzen has sidecars only"),
		idle("MeshConfig", "ingressClass ingressService ingressControllerMode ingressSelector", noIngress),
		idle("MeshConfig", "enableEnvoyAccessLogService", "name the collector as an extension provider (envoyHttpAls), and that in a Telemetry"),
		idle("MeshConfig", "disableEnvoyListenerLog", "there is no log of listeners to switch off"),
		idle("MeshConfig", "configSources", "the control plane reads what --config names"),
		idle("MeshConfig", "caCertificates", "what is trusted stands in root-cert.pem of the authority's directory (mizzen controlplane --ca-files), in a cluster of Secret cacerts: add your roots there"),
		idle("MeshConfig", "certificates", "as in Istio today: let cert-manager or its like make certificates for DNS names"),
		idle("MeshConfig", "serviceSettings serviceScopeConfigs", oneMesh),
		idle("MeshConfig", "ca", "the control plane signs by itself, or with the intermediate that --ca-files names"),
		yes("MeshConfig.OutboundTrafficPolicy", "mode"),
		refuse("MeshConfig.OutboundTrafficPolicy", "mode", "ALLOW_ANY_DYNAMIC_DNS", "unknown hosts are reached in plaintext or tunnelled as they came: write ALLOW_ANY, and a ServiceEntry with resolution DYNAMIC_DNS for hosts that Envoy is to look up"),
		idle("MeshConfig.OutboundTrafficPolicy", "tls", "it goes with mode ALLOW_ANY_DYNAMIC_DNS only: write a ServiceEntry with resolution DYNAMIC_DNS and a DestinationRule with tls"),
		yes("MeshConfig.InboundTrafficPolicy", "mode"),
		yes("MeshConfig.ProxyPathNormalization", "normalization"),
		yes("MeshConfig.DefaultTrafficPolicy", "connectionPool outlierDetection"),
		yes("MeshConfig.TLSConfig", "minProtocolVersion ecdhCurves cipherSuites"),
		yes("LabelSelector", "matchLabels matchExpressions"),
		yes("LabelSelectorRequirement", "key operator values"),
		yes("ServiceEntryVisibility", "defaultVisibility applyToSidecars policies"),
		yes("ServiceEntryVisibility.Policy", "visibility matchingRules"),
		yes("ServiceEntryVisibility.MatchRule", "namespaceSelector"),
	}
}

// proxyConfigRules is the support table of ProxyConfig: MeshConfig's defaultConfig, which the annotation proxy.istio.io/config has too.
func proxyConfigRules() []supportRule {
	return []supportRule{
		yes("ProxyConfig", "tracing gatewayTopology proxyHeaders connectionSettings"),
		yes("ProxyConfig", "concurrency proxyMetadata runtimeValues serviceCluster tracingServiceName drainDuration terminationDrainDuration "+
			"fileFlushInterval fileFlushMinSizeKb meshId statsdUdpAddress holdApplicationUntilProxyStarts"),
		// The injector and the agent of a pod act on these; a local mesh has neither.
		yes("ProxyConfig", "discoveryAddress image interceptionMode proxyAdminPort statusPort"),
		idle("ProxyConfig", "configPath binaryPath customConfigFile proxyBootstrapTemplatePath", ownStart),
		idle("ProxyConfig", "controlPlaneAuthPolicy", "the port of discoveryAddress says it: 15010 is plaintext, every other is TLS"),
		idle("ProxyConfig", "discoveryRefreshDelay", "changes are pushed as they come"),
		idle("ProxyConfig", "zipkinAddress", "obsolete: write tracing.zipkin.address"),
		idle("ProxyConfig", "envoyMetricsServiceAddress envoyMetricsService", "statistics are scraped from the administration page, or sent to statsdUdpAddress"),
		idle("ProxyConfig", "envoyAccessLogService", "name the collector as an extension provider (envoyHttpAls), and that in a Telemetry"),
		idle("ProxyConfig", "availabilityZone", "obsolete: where a workload is, its node or its label istio-locality says"),
		idle("ProxyConfig", "statNameLength", "Envoy has no such limit any more"),
		idle("ProxyConfig", "sds", "obsolete: certificates come over SDS only"),
		idle("ProxyConfig", "readinessProbe", "it is for virtual machines: in pods kubelet probes, as the containers say"),
		idle("ProxyConfig", "extraStatTags", "every label of Mizzen's own metrics is a tag already"),
		idle("ProxyConfig", "proxyStatsMatcher", "Mizzen's proxies make every statistic, when it first counts: none has to be let in"),
		idle("ProxyConfig", "caCertificatesPem", "what is trusted stands in root-cert.pem of the authority's directory (mizzen controlplane --ca-files), in a cluster of Secret cacerts: add your roots there"),
		idle("ProxyConfig", "privateKeyProvider", "the accelerators' extensions are in contrib builds of Envoy only"),
		idle("ProxyConfig", "statsCompression", "neither the administration page nor the agent of a pod compresses statistics"),
		yes("networking.ProxyConfig", "selector concurrency environmentVariables image"),
		idle("ProxyImage", "imageType", "the proxy's image is of one kind: the injector warns of another"),
		yes("Topology", "numTrustedProxies forwardClientCertDetails proxyProtocol"),
		yes("ProxyConfig.ProxyHeaders", "forwardedClientCert setCurrentClientCertDetails requestId server attemptCount envoyDebugHeaders preserveHttp1HeaderCase xForwardedHost xForwardedPort"),
		idle("ProxyConfig.ProxyHeaders", "metadataExchangeHeaders", "Mizzen's proxies send no such headers: who calls is in the certificate"),
		yes("ProxyConfig.ProxyHeaders.SetCurrentClientCertDetails", "subject cert chain dns uri"),
		yes("ProxyConfig.ProxyHeaders.RequestId", "disabled"),
		yes("ProxyConfig.ProxyHeaders.Server", "disabled value"),
		yes("ProxyConfig.ProxyHeaders.AttemptCount", "disabled"),
		yes("ProxyConfig.ProxyHeaders.EnvoyDebugHeaders", "disabled"),
		yes("ProxyConfig.ProxyHeaders.XForwardedHost", "enabled"),
		yes("ProxyConfig.ProxyHeaders.XForwardedPort", "enabled"),
		yes("ProxyConfig.ConnectionSettings", "profile listenerPerConnectionBufferLimitBytes clusterPerConnectionBufferLimitBytes httpIdleTimeout httpMaxConnectionDuration "+
			"httpDrainTimeout httpRequestTimeout httpRequestHeadersTimeout httpStreamIdleTimeout httpMaxStreamDuration httpMaxConcurrentStreams "+
			"http2InitialStreamWindowSize http2InitialConnectionWindowSize httpHeadersWithUnderscoresAction httpMergeSlashes httpPathWithEscapedSlashesAction"),
		yes("ProxyConfig.ConnectionSettings", "globalDownstreamConnectionLimit"),
		idle("ProxyConfig.ConnectionSettings", "listenerConnectionLimit", "Envoy takes it from its runtime, by the listener's name: write runtimeValues with "+
			"envoy.resource_limits.listener.NAME.connection_limit"),
		yes("Tracing", "sampling zipkin customTags maxPathTagLength"),
		yes("Tracing.CustomTag", "literal environment header"),
		yes("Tracing.Literal", "value"),
		yes("Tracing.Environment", "name defaultValue"),
		yes("Tracing.RequestHeader", "name defaultValue"),
		idle("Tracing", "tlsSettings", "the collector is a service like any other: a DestinationRule for its host says how it is spoken to, and in the mesh it is by mutual TLS anyway"),
		idle("Tracing", "enableIstioTags", "spans carry no tags of Istio's own"),
		idle("Tracing", "lightstep datadog stackdriver openCensusAgent", "write an extension provider, and name it in defaultProviders or a Telemetry"),
	}
}
