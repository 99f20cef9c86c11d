package istio

func destinationRuleRules() []supportRule {
	return []supportRule{
		yes("DestinationRule", "host trafficPolicy subsets exportTo workloadSelector"),
		yes("type.WorkloadSelector", "matchLabels"),
		yes("Subset", "name labels trafficPolicy"),
		yes("TrafficPolicy", "loadBalancer connectionPool outlierDetection tls portLevelSettings proxyProtocol retryBudget tunnel"),
		yes("TrafficPolicy.TunnelSettings", "protocol targetHost targetPort"),
		yes("TrafficPolicy.ProxyProtocol", "version"),
		yes("TrafficPolicy.RetryBudget", "percent minRetryConcurrency budgetInterval"),
		yes("TrafficPolicy.PortTrafficPolicy", "port loadBalancer connectionPool outlierDetection tls"),
		yes("LoadBalancerSettings", "simple consistentHash warmup localityLbSetting zoneAwareLbSetting"),
		yes("LocalityLoadBalancerSetting", "enabled distribute failover failoverPriority"),
		yes("LocalityLoadBalancerSetting.Distribute", "from to"),
		yes("LocalityLoadBalancerSetting.Failover", "from to"),
		yes("ZoneAwareLoadBalancerSetting", "enabled failover failoverPriority"),
		idle("ZoneAwareLoadBalancerSetting", "minClusterSize", "as in Istio without ENABLE_SELF_DISCOVERY: a proxy does not know its own service's zones, so that requests are spread over all zones of the region"),
		yes("ZoneAwareLoadBalancerSetting.Failover", "from to"),
		old("LoadBalancerSettings", "warmupDurationSecs", "warmup.duration"),
		yes("LoadBalancerSettings.ConsistentHashLB", "httpHeaderName httpCookie useSourceIp httpQueryParameterName ringHash maglev"),
		old("LoadBalancerSettings.ConsistentHashLB", "minimumRingSize", "ringHash.minimumRingSize"),
		yes("LoadBalancerSettings.ConsistentHashLB.HTTPCookie", "name path ttl attributes"),
		yes("LoadBalancerSettings.ConsistentHashLB.HTTPCookie.Attribute", "name value"),
		yes("LoadBalancerSettings.ConsistentHashLB.RingHash", "minimumRingSize"),
		yes("LoadBalancerSettings.ConsistentHashLB.MagLev", "tableSize"),
		yes("WarmupConfiguration", "duration minimumPercent aggression"),
		yes("ConnectionPoolSettings", "tcp http"),
		yes("ConnectionPoolSettings.TCPSettings", "maxConnections connectTimeout tcpKeepalive maxConnectionDuration idleTimeout"),
		yes("ConnectionPoolSettings.TCPSettings.TcpKeepalive", "probes time interval"),
		yes("ConnectionPoolSettings.HTTPSettings", "http1MaxPendingRequests http2MaxRequests maxRequestsPerConnection maxRetries idleTimeout h2UpgradePolicy useClientProtocol maxConcurrentStreams http2KeepAlive"),
		yes("ConnectionPoolSettings.HTTPSettings.ConnectionKeepalive", "interval timeout"),
		yes("OutlierDetection", "splitExternalLocalOriginErrors consecutiveLocalOriginFailures consecutiveGatewayErrors consecutive5xxErrors interval baseEjectionTime maxEjectionPercent minHealthPercent outlierDetectionHttpErrorCodes"),
		old("OutlierDetection", "consecutiveErrors", "consecutive5xxErrors"),
	}
}

func serviceEntryRules() []supportRule {
	return []supportRule{
		yes("ServiceEntry", "hosts addresses ports location resolution endpoints workloadSelector exportTo"),
		yes("ServicePort", "number protocol name targetPort"),
		yes("WorkloadSelector", "labels"),
		yes("WorkloadEntry", "address ports labels locality weight serviceAccount"),
		idle("WorkloadEntry", "network", noNetwork),
		yes("WorkloadGroup", "metadata template"),
		yes("WorkloadGroup.ObjectMeta", "labels"),
		word("WorkloadGroup.ObjectMeta", "annotations"),
		idle("WorkloadGroup", "probe", "probing is for an agent beside the workload, and there is none: a WorkloadEntry is ready as long as it exists"),
	}
}

func sidecarRules() []supportRule {
	return []supportRule{
		yes("Sidecar", "workloadSelector egress ingress inboundConnectionPool outboundTrafficPolicy"),
		yes("IstioIngressListener", "port bind captureMode defaultEndpoint connectionPool"),
		no("IstioIngressListener", "tls", "a workload's certificate is the mesh's: let outsiders in through a Gateway"),
		yes("IstioEgressListener", "port hosts bind captureMode"),
		yes("SidecarPort", "number"),
		word("SidecarPort", "name"),
		yes("SidecarPort", "protocol"),
		no("SidecarPort", "targetPort", "it never had an effect"),
		yes("OutboundTrafficPolicy", "mode egressProxy"),
	}
}
