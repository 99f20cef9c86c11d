package compile

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

type name struct{ namespace, name string }

// endpoints finds the addresses behind every service port: EndpointSlices if the Service has any, else its Endpoints
// object, else the workloads that its selector picks (a ServiceEntry's workloadSelector likewise).
func (c *compiler) endpoints() {
	slices := map[name][]*istio.Object[*discoveryv1.EndpointSlice]{}
	for _, o := range c.set.EndpointSlices {
		if svc := o.Labels[discoveryv1.LabelServiceName]; svc != "" {
			k := name{o.Namespace, svc}
			slices[k] = append(slices[k], o)
		}
	}
	eps := map[name]*corev1.Endpoints{}
	for _, o := range c.set.Endpoints {
		eps[name{o.Namespace, o.Name}] = o.Spec
	}
	pods := c.workloadsByAddress()
	for _, s := range c.world.Services {
		k := name{s.Namespace, s.ShortName}
		switch {
		case s.ShortName != "" && s.Resolution == mesh.ResolutionRegistry && len(slices[k]) > 0:
			c.fromSlices(s, slices[k], pods)
		case s.ShortName != "" && s.Resolution == mesh.ResolutionRegistry && eps[k] != nil:
			c.fromEndpoints(s, eps[k], pods)
		case s.Selector != nil && s.Resolution != mesh.ResolutionNone && s.Resolution != mesh.ResolutionDynamicDNS:
			c.fromSelector(s)
		}
	}
	for k, list := range c.world.Endpoints {
		c.world.Endpoints[k] = uniqueEndpoints(list)
	}
}

// workloadsByAddress finds the labels of an address that an EndpointSlice lists, within a namespace. Pods of their host's network share one.
func (c *compiler) workloadsByAddress() map[name][]*mesh.Workload {
	out := map[name][]*mesh.Workload{}
	for _, w := range c.world.Workloads {
		for _, a := range append([]string{w.Address}, w.Others...) {
			k := name{w.Namespace, a}
			out[k] = append(out[k], w)
		}
	}
	return out
}

func (c *compiler) addEndpoints(s *mesh.Service, port uint32, list ...*mesh.Endpoint) {
	if c.world.Endpoints == nil {
		c.world.Endpoints = map[mesh.EndpointKey][]*mesh.Endpoint{}
	}
	k := mesh.EndpointKey{Hostname: s.Hostname, Namespace: s.Namespace, Port: port}
	c.world.Endpoints[k] = append(c.world.Endpoints[k], list...)
}

func (c *compiler) fromSelector(s *mesh.Service) {
	for _, w := range c.selected(s.Namespace, s.Selector) {
		if fixed := s.Resolution == mesh.ResolutionRegistry || s.Resolution == mesh.ResolutionStatic; fixed && !reachable(w.Address) {
			c.reportName(s, w)
			continue
		}
		for _, p := range s.Ports {
			if port := p.On(w); port != 0 {
				c.addEndpoints(s, p.Number, c.workloadEndpoint(w, port))
			}
		}
	}
}

// reachable tells whether an endpoint's address needs no name resolution.
func reachable(address string) bool {
	_, err := netip.ParseAddr(address)
	return err == nil || strings.HasPrefix(address, "unix://")
}

// reportName tells that a WorkloadEntry with a name for an address stands behind a service that resolves none.
func (c *compiler) reportName(s *mesh.Service, w *mesh.Workload) {
	o := w.Origin
	c.diags = append(c.diags, istio.Diagnostic{
		Code: codeEndpointName, Severity: istio.Warning, Object: istio.Ref{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name},
		Position: istio.Position{File: o.File, Line: o.Line}, Path: "spec.address",
		Message: fmt.Sprintf("%q is a name, and %s takes addresses only: it gets no requests here", w.Address, s.Hostname),
		Fix:     "write an IP address, or a ServiceEntry with resolution: DNS",
	})
}

func (c *compiler) workloadEndpoint(w *mesh.Workload, port uint32) *mesh.Endpoint {
	return &mesh.Endpoint{
		Address: w.Address, Port: port, Labels: w.Labels, Weight: w.Weight, Ready: w.Ready, Draining: w.Draining, Locality: w.Locality,
		Workload: w.Name + "." + w.Namespace, TLS: c.mutualTLS(w, port), ServiceAccount: w.ServiceAccount,
	}
}

func (c *compiler) fromSlices(s *mesh.Service, slices []*istio.Object[*discoveryv1.EndpointSlice], pods map[name][]*mesh.Workload) {
	nodes := c.nodeLocalities()
	kinds := map[discoveryv1.AddressType]bool{}
	for _, o := range slices {
		kinds[o.Spec.AddressType] = true
	}
	for _, o := range slices {
		for _, ep := range o.Spec.Endpoints {
			for _, p := range s.Ports {
				port := slicePort(o.Spec.Ports, p.Name, len(s.Ports) == 1)
				for _, addr := range ep.Addresses {
					if port == 0 || len(kinds) > 1 && second(pods[name{s.Namespace, addr}], addr) {
						continue
					}
					e := c.known(pods, s.Namespace, addr, port, ep.TargetRef)
					e.Ready = ep.Conditions.Ready == nil || *ep.Conditions.Ready
					e.Draining = !e.Ready && isTrue(ep.Conditions.Terminating) && (ep.Conditions.Serving == nil || *ep.Conditions.Serving)
					if ep.NodeName != nil && e.Locality == "" {
						e.Locality = nodes[*ep.NodeName]
					}
					c.addEndpoints(s, p.Number, e)
				}
			}
		}
	}
}

// second tells whether an address is not the first of those who have it: a dual-stack pod stands in two slices, and is one endpoint.
func second(there []*mesh.Workload, addr string) bool {
	return len(there) > 0 && !slices.ContainsFunc(there, func(w *mesh.Workload) bool { return w.Address == addr })
}

func isTrue(b *bool) bool { return b != nil && *b }

// slicePort finds the port by name, as Kubernetes pairs them; a lone unnamed one serves a Service of one port.
func slicePort(ports []discoveryv1.EndpointPort, name string, only bool) uint32 {
	for _, p := range ports {
		if p.Port == nil {
			continue
		}
		if p.Name != nil && *p.Name == name || only && (p.Name == nil || *p.Name == "") {
			return uint32(*p.Port)
		}
	}
	return 0
}

func (c *compiler) fromEndpoints(s *mesh.Service, eps *corev1.Endpoints, pods map[name][]*mesh.Workload) {
	for _, sub := range eps.Subsets {
		for _, p := range s.Ports {
			port := uint32(0)
			for _, sp := range sub.Ports {
				if sp.Name == p.Name || len(s.Ports) == 1 && sp.Name == "" {
					port = uint32(sp.Port)
				}
			}
			if port == 0 {
				continue
			}
			for _, a := range sub.Addresses {
				e := c.known(pods, s.Namespace, a.IP, port, a.TargetRef)
				e.Ready, e.Draining = true, false
				c.addEndpoints(s, p.Number, e)
			}
			for _, a := range sub.NotReadyAddresses {
				e := c.known(pods, s.Namespace, a.IP, port, a.TargetRef)
				e.Ready = false // a pod that ends stands here, and drains
				c.addEndpoints(s, p.Number, e)
			}
		}
	}
}

// known takes labels from the workload at the address, if there is one: of several the one that target names, else the last.
func (c *compiler) known(pods map[name][]*mesh.Workload, namespace, addr string, port uint32, target *corev1.ObjectReference) *mesh.Endpoint {
	there := pods[name{namespace, addr}]
	if len(there) == 0 {
		return &mesh.Endpoint{Address: addr, Port: port}
	}
	w := there[len(there)-1]
	for _, x := range there {
		if target != nil && target.Kind == "Pod" && target.Name == x.Name {
			w = x
		}
	}
	e := c.workloadEndpoint(w, port)
	e.Address = addr
	return e
}

func compareEndpoints(a, b *mesh.Endpoint) int {
	return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Workload, b.Workload), compareLabels(a.Labels, b.Labels))
}

func compareLabels(a, b map[string]string) int {
	if maps.Equal(a, b) {
		return 0
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) // maps are printed in the order of their keys
}

// uniqueEndpoints sorts and drops repeated addresses: two slices may both list an endpoint while it moves. With other labels an
// address is another endpoint: it may stand in several subsets.
func uniqueEndpoints(list []*mesh.Endpoint) []*mesh.Endpoint {
	slices.SortStableFunc(list, compareEndpoints)
	return slices.CompactFunc(list, func(a, b *mesh.Endpoint) bool {
		return a.Address == b.Address && a.Port == b.Port && maps.Equal(a.Labels, b.Labels)
	})
}
