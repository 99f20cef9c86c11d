package view

import (
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// proxy is what a proxy is told about itself: by its pod, else by the mesh; nil: all defaults.
func (c *Cache) proxy(n mesh.Node) *mesh.Proxy {
	if len(c.proxies) > 0 {
		if p := c.proxies[n.Namespace+"/"+n.Name]; p != nil {
			return p
		}
	}
	return c.world.Settings.Proxy
}

// settings are the mesh's as they are for one proxy.
func (c *Cache) settings(n mesh.Node) mesh.Settings {
	s := c.world.Settings
	s.Proxy = c.proxy(n)
	return s
}

// withDefaults fills in what the mesh says about outbound clusters where their policy says nothing.
func (c *Cache) withDefaults(t *mesh.Traffic, p mesh.Protocol) *mesh.Traffic {
	s := c.world.Settings
	if s.Pool == nil && s.Outlier == nil && s.Keepalive == nil && !s.Upgrade {
		return t
	}
	out := &mesh.Traffic{}
	if t != nil {
		*out = *t
	}
	if out.Pool == nil {
		out.Pool = s.Pool
	}
	if out.Outlier == nil {
		out.Outlier = s.Outlier
	}
	pool := mesh.ConnectionPool{}
	if out.Pool != nil {
		pool = *out.Pool
	}
	if k := s.Keepalive; k != nil && !pool.Keepalive {
		pool.Keepalive, pool.KeepaliveProbes, pool.KeepaliveTime, pool.KeepaliveInterval = true, k.KeepaliveProbes, k.KeepaliveTime, k.KeepaliveInterval
	}
	if s.Upgrade && pool.Upgrade == "" && !pool.UseClientProtocol && p == mesh.HTTP {
		pool.Upgrade = "UPGRADE"
	}
	if pool != (mesh.ConnectionPool{}) {
		out.Pool = &pool
	}
	return out
}

// statName fills in the variables of a pattern of MeshConfig; "" for "".
func statName(pattern string, svc *mesh.Service, port *mesh.Port, subset string, target uint32) string {
	if pattern == "" || svc == nil || port == nil {
		return ""
	}
	short, name := svc.Hostname, svc.Hostname
	if svc.ShortName != "" {
		short, name = svc.ShortName+"."+svc.Namespace, svc.ShortName
	}
	return strings.NewReplacer(
		"%SERVICE%", short, "%SERVICE_NAME%", name, "%SERVICE_FQDN%", svc.Hostname,
		"%SERVICE_PORT%", portString(port.Number), "%SERVICE_PORT_NAME%", port.Name,
		"%TARGET_PORT%", strconv.Itoa(int(target)), "%SUBSET_NAME%", subset,
	).Replace(pattern)
}

// nameStats gives the listeners the names in statistics of the clusters that they send bytes to, where these have names of their own.
func (s *scope) nameStats(v *mesh.View) {
	if v.Settings.InboundStat == "" && v.Settings.OutboundStat == "" {
		return
	}
	own := map[string]string{}
	for _, c := range v.Clusters {
		own[c.Name] = c.StatName
	}
	for _, l := range v.Listeners {
		add := func(cluster string) {
			name := own[cluster]
			if c := s.named[cluster]; c != nil && name == "" {
				name = c.StatName
			}
			if name != "" {
				if l.Stats == nil {
					l.Stats = map[string]string{}
				}
				l.Stats[cluster] = name
			}
		}
		add(l.Cluster)
		for _, ch := range l.Chains {
			for _, c := range ch.Clusters {
				add(c.Cluster)
			}
		}
		for _, in := range l.Inbound {
			add(in.Cluster)
		}
	}
}
