package istio

import (
	"net/netip"
	"strings"
)

// egressRules makes a ServiceEntry of each EgressRule. A port of protocol https was spoken to in plaintext, and the sidecar began TLS.
func (c *conversion) egressRules() {
	for _, o := range c.of("EgressRule") {
		spec := o.Spec.spec
		host := spec.get("destination", "service").str()
		if host == "" {
			host = spec.get("destination", "name").str()
		}
		if host == "" {
			c.say(o, Error, "spec.destination.service", "destination.service is required", "")
			continue
		}
		if b := spec.get("useEgressProxy"); b != nil && b.text == "true" {
			c.say(o, Error, "spec.useEgressProxy", "left out: Istio never sent an EgressRule's traffic through a proxy, and straight out is not what is asked for",
				"write a ServiceEntry, a Gateway for the egress gateway and a VirtualService that goes through it")
			continue
		}
		c.egressRule(o, host)
	}
}

func (c *conversion) egressRule(o *Object[*Legacy], host string) {
	spec := o.Spec.spec
	pos := o.At("spec.destination")
	out := mapping(pos)
	address := isAddress(host)
	resolution := "DNS"
	switch {
	case address:
		out.set("hosts", pos, words(pos, []string{objectName(o.Name) + "." + o.Namespace + ".egress"}))
		out.set("addresses", pos, words(pos, []string{host}))
		resolution = "NONE"
	default:
		out.set("hosts", pos, words(pos, []string{host}))
		if strings.HasPrefix(host, "*") {
			resolution = "NONE"
		}
	}
	ports := listing(o.At("spec.ports"))
	var begins []*node // ports on which the sidecar begins TLS
	for i, p := range spec.get("ports").list() {
		protocol := strings.ToUpper(p.get("protocol").str())
		path := index("spec.ports", i)
		if address && protocol != "TCP" && protocol != "MONGO" && protocol != "REDIS" && protocol != "MYSQL" {
			c.say(o, Error, path, "left out: addresses were for TCP only", "write the host's name as destination.service")
			continue
		}
		name := strings.ToLower(protocol) + "-" + p.get("port").str()
		if protocol == "HTTPS" {
			protocol, name = "HTTP", "http-"+p.get("port").str()
			begins = append(begins, p)
		}
		port := mapping(p.pos)
		port.carry("number", p, "port")
		port.set("name", p.pos, text(p.pos, name))
		protocolPos := p.pos
		if f := p.find("protocol"); f != nil {
			protocolPos = f.pos
		}
		port.set("protocol", protocolPos, text(p.pos, protocol))
		ports.items = append(ports.items, port)
	}
	if len(ports.items) == 0 {
		c.say(o, Error, "spec.ports", "ports is required", "add ports: [{port: 80, protocol: http}]")
		return
	}
	out.set("ports", ports.pos, ports)
	out.set("location", pos, text(pos, "MESH_EXTERNAL"))
	out.set("resolution", pos, text(pos, resolution))
	c.add(networkingKind("ServiceEntry", o.Namespace, o.Name), out, o)
	if len(begins) > 0 {
		c.beginTLS(o, host, begins)
	}
}

// beginTLS adds to the host's DestinationRule that some ports are TLS outside.
func (c *conversion) beginTLS(o *Object[*Legacy], host string, ports []*node) {
	d := c.destination(hostService(host), o)
	d.of(o)
	if d.policy == nil {
		d.policy = mapping(o.Position)
	}
	list := d.policy.get("portLevelSettings")
	if list == nil {
		list = listing(ports[0].pos)
		d.policy.set("portLevelSettings", ports[0].pos, list)
	}
	for _, p := range ports {
		tls := mapping(p.pos).with("mode", p.pos, text(p.pos, "SIMPLE"))
		if !strings.HasPrefix(host, "*") {
			tls.set("sni", p.pos, text(p.pos, host))
		}
		item := mapping(p.pos).with("port", p.pos, mapping(p.pos).with("number", p.pos, p.get("port").copyOf())).with("tls", p.pos, tls)
		list.items = append(list.items, item)
	}
	c.say(o, Info, "spec.ports", "https of an EgressRule: the application speaks HTTP to this port, and its sidecar begins TLS", "for applications that speak TLS themselves write a ServiceEntry port of protocol TLS")
}

func isAddress(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	return isIP(s)
}
