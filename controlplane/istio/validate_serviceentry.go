package istio

import (
	"fmt"
	"net/netip"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
)

func validateServiceEntry(o *Object[se]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	if len(s.Hosts) == 0 {
		v.fail("spec.hosts", "hosts is required", "")
	}
	for i, h := range s.Hosts {
		if h == "*" || !wildcard(h) {
			v.fail(index("spec.hosts", i), fmt.Sprintf("%q is not a host", h), "write a name or *.domain, without scheme or port")
		}
	}
	v.addresses(s)
	ports := v.servicePorts(s)
	v.resolution(s)
	if s.WorkloadSelector != nil {
		v.labels("spec.workloadSelector.labels", s.WorkloadSelector.Labels)
		if len(s.Endpoints) > 0 {
			v.fail("spec.workloadSelector", "workloadSelector and endpoints exclude each other", "keep one")
		}
	}
	for i, e := range s.Endpoints {
		path := index("spec.endpoints", i)
		v.workload(e, path, s.Resolution)
		for _, name := range sortedKeys(e.Ports) {
			if !ports[name] {
				v.fail(join(path+".ports", name), fmt.Sprintf("spec.ports has no port named %q", name), "")
			}
		}
	}
	v.endpointWeights(s.Endpoints)
	v.exportTo(s.ExportTo, true)
	return v.diags
}

func (v *validator) addresses(s *networking.ServiceEntry) {
	for i, a := range s.Addresses {
		path := index("spec.addresses", i)
		if !strings.Contains(a, "/") {
			if !isIP(a) {
				v.fail(path, fmt.Sprintf("%q is not an IP address or a CIDR range", a), "")
			}
			continue
		}
		if _, err := netip.ParsePrefix(a); err != nil {
			v.fail(path, fmt.Sprintf("%q is not an IP address or a CIDR range", a), "")
		} else if s.Resolution != networking.ServiceEntry_NONE && s.Resolution != networking.ServiceEntry_STATIC {
			v.fail(path, fmt.Sprintf("a range of addresses does not go with resolution %s", s.Resolution), "write single addresses")
		}
	}
}

// servicePorts checks the ports and returns their names.
func (v *validator) servicePorts(s *networking.ServiceEntry) map[string]bool {
	names, numbers := map[string]bool{}, map[uint32]bool{}
	for i, p := range s.Ports {
		path := index("spec.ports", i)
		v.port(path+".number", p.Number)
		if v.required(path+".name", p.Name) && names[p.Name] {
			v.fail(path+".name", fmt.Sprintf("port name %q stands twice", p.Name), "")
		}
		if numbers[p.Number] {
			v.fail(path+".number", fmt.Sprintf("port %d stands twice", p.Number), "")
		}
		names[p.Name], numbers[p.Number] = true, true
		v.portProtocol(path+".protocol", p.Protocol)
		if p.TargetPort != 0 {
			v.port(path+".targetPort", p.TargetPort)
			if s.Resolution == networking.ServiceEntry_NONE {
				v.fail(path+".targetPort", "has no meaning with resolution NONE: the caller's port is taken", "take it away")
			}
		}
	}
	if len(s.Ports) == 0 {
		v.trap("spec.ports", "without ports nothing can be reached", "add ports: [{number: 80, name: http, protocol: HTTP}]")
	}
	return names
}

func (v *validator) resolution(s *networking.ServiceEntry) {
	star := ""
	for _, h := range s.Hosts {
		if strings.HasPrefix(h, "*") {
			star = h
		}
	}
	switch s.Resolution {
	case networking.ServiceEntry_NONE:
		if len(s.Endpoints) > 0 {
			v.fail("spec.endpoints", "resolution NONE goes to the address that the caller asked for: endpoints have no meaning", "write resolution: STATIC, or DNS for names")
		}
	case networking.ServiceEntry_DYNAMIC_DNS:
		v.dynamicDNS(s)
	case networking.ServiceEntry_STATIC:
		if len(s.Endpoints) == 0 && s.WorkloadSelector == nil {
			v.trap("spec.resolution", "STATIC without endpoints and workloadSelector: every request gets a 503", "add endpoints, or write resolution: DNS")
		}
	case networking.ServiceEntry_DNS, networking.ServiceEntry_DNS_ROUND_ROBIN:
		if star != "" && len(s.Endpoints) == 0 {
			v.fail("spec.resolution", fmt.Sprintf("%s cannot be looked up: with resolution %s a host with '*' needs endpoints", star, s.Resolution), "write resolution: NONE, or name the hosts")
		}
		if s.Resolution == networking.ServiceEntry_DNS_ROUND_ROBIN && len(s.Endpoints) > 1 {
			v.fail("spec.endpoints", "DNS_ROUND_ROBIN takes one endpoint at most", "write resolution: DNS")
		}
	}
}

// dynamicDNS is for the names that a wildcard stands for, each looked up when it is asked for.
func (v *validator) dynamicDNS(s *networking.ServiceEntry) {
	for i, h := range s.Hosts {
		if !strings.HasPrefix(h, "*.") {
			v.fail(index("spec.hosts", i), "resolution DYNAMIC_DNS is for hosts with '*'", "write resolution: DNS")
		}
	}
	if len(s.Endpoints) > 0 {
		v.fail("spec.endpoints", "resolution DYNAMIC_DNS looks up the request's own host: endpoints have no meaning", "take them away")
	}
	if s.WorkloadSelector != nil {
		v.fail("spec.workloadSelector", "resolution DYNAMIC_DNS looks up the request's own host: workloads have no meaning", "take it away")
	}
	for i, p := range s.Ports {
		switch strings.ToUpper(p.Protocol) {
		case "HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS", "TLS":
		default:
			v.fail(index("spec.ports", i)+".protocol", fmt.Sprintf("resolution DYNAMIC_DNS needs requests, or TLS, that name a host: %s does not", p.Protocol), "write resolution: NONE for this port")
		}
	}
}

func validateWorkloadGroup(o *Object[*networking.WorkloadGroup]) Diagnostics {
	v := &validator{meta: &o.Meta}
	v.labels("spec.metadata.labels", o.Spec.GetMetadata().GetLabels())
	t := o.Spec.GetTemplate()
	if t == nil {
		v.fail("spec.template", "template is required", "write template: {} for an empty one")
		return v.diags
	}
	if t.Address != "" {
		v.fail("spec.template.address", "a group has no address", "write it into each WorkloadEntry")
	}
	if len(t.Labels) > 0 {
		v.fail("spec.template.labels", "a group's labels stand under spec.metadata.labels", "move them there")
	}
	for _, name := range sortedKeys(t.Ports) {
		v.port(join("spec.template.ports", name), t.Ports[name])
	}
	if strings.Count(t.Locality, "/") > 2 {
		v.fail("spec.template.locality", fmt.Sprintf("%q is not REGION/ZONE/SUBZONE", t.Locality), "")
	}
	return v.diags
}

func validateWorkloadEntry(o *Object[we]) Diagnostics {
	v := &validator{meta: &o.Meta}
	v.workload(o.Spec, "spec", networking.ServiceEntry_DNS)
	return v.diags
}

// workload checks a WorkloadEntry; with STATIC its address must be an IP or a Unix socket.
func (v *validator) workload(w *networking.WorkloadEntry, path string, r networking.ServiceEntry_Resolution) {
	p := path + ".address"
	if v.required(p, w.Address) {
		socket, unix := strings.CutPrefix(w.Address, "unix://")
		switch {
		case unix && !strings.HasPrefix(socket, "/") && !strings.HasPrefix(socket, "@"):
			v.fail(p, "a Unix socket needs an absolute path", "")
		case unix && len(socket) > maxUnixPath:
			v.fail(p, fmt.Sprintf("a path of %d bytes; a Unix socket's has at most %d", len(socket), maxUnixPath), "")
		case unix && len(w.Ports) > 0:
			v.fail(path+".ports", "a Unix socket has no ports", "take them away")
		case unix || isIP(w.Address):
		case r == networking.ServiceEntry_STATIC:
			v.fail(p, fmt.Sprintf("%q is not an IP address, as resolution STATIC wants", w.Address), "write resolution: DNS for names")
		case !hostname(w.Address):
			v.fail(p, fmt.Sprintf("%q is not an IP address or a host", w.Address), "write it without scheme or port")
		}
	}
	for _, name := range sortedKeys(w.Ports) {
		v.port(join(path+".ports", name), w.Ports[name])
	}
	v.labels(path+".labels", w.Labels)
	if strings.Count(w.Locality, "/") > 2 {
		v.fail(path+".locality", fmt.Sprintf("%q is not REGION/ZONE/SUBZONE", w.Locality), "")
	}
}
