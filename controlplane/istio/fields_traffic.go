package istio

func destinationRuleRules() []supportRule {
	return []supportRule{
		yes("DestinationRule", "host trafficPolicy subsets exportTo workloadSelector"),
		yes("type.WorkloadSelector", "matchLabels"),
		yes("Subset", "name labels trafficPolicy"),
		yes("TrafficPolicy", "loadBalancer connectionPool outlierDetection tls portLevelSettings proxyProtocol retryBudget"),
		no("TrafficPolicy", "tunnel", needsL4),
		yes("TrafficPolicy.ProxyProtocol", "version"),
		yes("TrafficPolicy.RetryBudget", "percent minRetryConcurrency budgetInterval"),
		yes("TrafficPolicy.PortTrafficPolicy", "port loadBalancer connectionPool outlierDetection tls"),
		yes("LoadBalancerSettings", "simple consistentHash warmup"),
		idle("LoadBalancerSettings", "localityLbSetting zoneAwareLbSetting", needsZone),
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
