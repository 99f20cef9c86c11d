package istio

// envoyFilterRules is the support table of EnvoyFilter.
func envoyFilterRules() []supportRule {
	const noWaypoint = "there are no waypoints here: a sidecar stands before every workload"
	return []supportRule{
		yes("EnvoyFilter", "workloadSelector configPatches priority"),
		no("EnvoyFilter", "targetRefs", "they name Gateway API gateways and waypoints, of which there are none here: write workloadSelector"),
		yes("EnvoyFilter.EnvoyConfigObjectPatch", "applyTo match patch"),
		refuse("EnvoyFilter.EnvoyConfigObjectPatch", "applyTo", "BOOTSTRAP",
			"a proxy's bootstrap is written before it asks for its configuration: write CLUSTER, LISTENER or EXTENSION_CONFIG for what can come later"),
		yes("EnvoyFilter.EnvoyConfigObjectMatch", "context proxy listener routeConfiguration cluster"),
		refuse("EnvoyFilter.EnvoyConfigObjectMatch", "context", "WAYPOINT", noWaypoint),
		no("EnvoyFilter.EnvoyConfigObjectMatch", "waypoint", noWaypoint),
		yes("EnvoyFilter.ProxyMatch", "proxyVersion metadata"),
		yes("EnvoyFilter.ListenerMatch", "portNumber filterChain listenerFilter name"),
		no("EnvoyFilter.ListenerMatch", "portName", "Istio never gave it a meaning: write portNumber"),
		yes("EnvoyFilter.ListenerMatch.FilterChainMatch", "name sni transportProtocol applicationProtocols filter destinationPort"),
		yes("EnvoyFilter.ListenerMatch.FilterMatch", "name subFilter"),
		yes("EnvoyFilter.ListenerMatch.SubFilterMatch", "name"),
		yes("EnvoyFilter.RouteConfigurationMatch", "portNumber portName gateway vhost name"),
		yes("EnvoyFilter.RouteConfigurationMatch.VirtualHostMatch", "name domainName route"),
		yes("EnvoyFilter.RouteConfigurationMatch.RouteMatch", "name action"),
		yes("EnvoyFilter.ClusterMatch", "portNumber service subset name"),
		yes("EnvoyFilter.Patch", "operation value filterClass"),
	}
}
