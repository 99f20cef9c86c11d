package istio

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1alpha3"
)

func validateDestinationRule(o *Object[dr]) Diagnostics {
	v := &validator{meta: &o.Meta}
	s := o.Spec
	if v.required("spec.host", s.Host) && !wildcard(s.Host) && !isIP(s.Host) {
		v.fail("spec.host", fmt.Sprintf("%q is not a host", s.Host), "write a service's name, without scheme or port")
	}
	v.exportTo(s.ExportTo, false)
	v.labels("spec.workloadSelector.matchLabels", s.WorkloadSelector.GetMatchLabels())
	v.traffic(s.TrafficPolicy, "spec.trafficPolicy")
	seen := map[string]bool{}
	for i, sub := range s.Subsets {
		path := index("spec.subsets", i)
		if v.required(path+".name", sub.Name) && !subsetName(sub.Name) {
			v.fail(path+".name", fmt.Sprintf("%q is not a subset's name", sub.Name), "write letters, digits and '-'")
		}
		if seen[sub.Name] {
			v.fail(path+".name", fmt.Sprintf("subset %q stands twice", sub.Name), "keep one")
		}
		seen[sub.Name] = true
		v.labels(path+".labels", sub.Labels)
		v.traffic(sub.TrafficPolicy, path+".trafficPolicy")
	}
	return v.diags
}

func (v *validator) traffic(p *networking.TrafficPolicy, path string) {
	if p == nil {
		return
	}
	if p.LoadBalancer == nil && p.ConnectionPool == nil && p.OutlierDetection == nil && p.Tls == nil && len(p.PortLevelSettings) == 0 &&
		p.Tunnel == nil && p.ProxyProtocol == nil && p.RetryBudget == nil {
		v.fail(path, "an empty trafficPolicy", "fill it, or take it away")
	}
	v.wholeHost(p, path)
	v.loadBalancer(p.LoadBalancer, path+".loadBalancer")
	v.connectionPool(p.ConnectionPool, path+".connectionPool")
	v.outlier(p.OutlierDetection, path+".outlierDetection")
	v.clientTLS(p.Tls, path+".tls")
	seen := map[uint32]bool{}
	for i, l := range p.PortLevelSettings {
		lp := index(path+".portLevelSettings", i)
		if l.Port == nil {
			v.fail(lp, "port is required", "add port: {number: N}")
		} else {
			v.port(lp+".port.number", l.Port.Number)
			if seen[l.Port.Number] {
				v.fail(lp+".port.number", fmt.Sprintf("port %d stands twice", l.Port.Number), "keep one")
			}
			seen[l.Port.Number] = true
		}
		v.loadBalancer(l.LoadBalancer, lp+".loadBalancer")
		v.connectionPool(l.ConnectionPool, lp+".connectionPool")
		v.outlier(l.OutlierDetection, lp+".outlierDetection")
		v.clientTLS(l.Tls, lp+".tls")
	}
}

// wholeHost checks what no port has settings of its own for.
func (v *validator) wholeHost(p *networking.TrafficPolicy, path string) {
	if b := p.RetryBudget; b != nil {
		v.fraction(path+".retryBudget.percent", b.Percent, 0, 100)
		v.notBelowZero(path+".retryBudget.budgetInterval", b.BudgetInterval)
	}
	if p.ProxyProtocol != nil && p.Tunnel != nil {
		v.fail(path+".proxyProtocol", "proxyProtocol and tunnel exclude each other", "keep one")
	}
	if p.Tunnel != nil {
		v.tunnel(p.Tunnel, path+".tunnel")
	}
}

// tunnel checks where an HTTP proxy is to lead.
func (v *validator) tunnel(t *networking.TrafficPolicy_TunnelSettings, path string) {
	if t.Protocol != "" && t.Protocol != "CONNECT" && t.Protocol != "POST" {
		v.fail(path+".protocol", fmt.Sprintf("%q is not how HTTP proxies are asked", t.Protocol), "write CONNECT or POST")
	}
	if v.required(path+".targetHost", t.TargetHost) && !isIP(t.TargetHost) && !hostname(t.TargetHost) {
		v.fail(path+".targetHost", fmt.Sprintf("%q is not a host", t.TargetHost), "write one name or address, without scheme or port")
	}
	v.port(path+".targetPort", t.TargetPort)
}

// fraction checks a number that need not be whole. Nil passes.
func (v *validator) fraction(path string, n *wrapperspb.DoubleValue, low, high float64) {
	if n != nil && !(n.GetValue() >= low && n.GetValue() <= high) {
		v.fail(path, fmt.Sprintf("must be %v to %v, got %v", low, high, n.GetValue()), "")
	}
}

// maxAggression is the steepest growth that makes sense: all of it at the end of the warm-up.
const maxAggression = 1000

// Envoy's bounds of hash tables.
const (
	maxRing = 8 << 20
	// slowRing is where building a ring begins to be felt, some 2 s of an Envoy.
	slowRing  = 256 << 10
	maxMaglev = 5000011
)

func (v *validator) loadBalancer(lb *networking.LoadBalancerSettings, path string) {
	if lb == nil {
		return
	}
	v.localities(lb, path)
	if w := lb.Warmup; w != nil {
		p := path + ".warmup"
		if w.Duration == nil {
			v.fail(p, "duration is required", "add duration: 30s")
		}
		v.positive(p+".duration", w.Duration, "leave warmup out for none")
		v.fraction(p+".minimumPercent", w.MinimumPercent, 0, 100)
		v.fraction(p+".aggression", w.Aggression, 1, maxAggression)
		if simple, ok := lb.LbPolicy.(*networking.LoadBalancerSettings_Simple); lb.LbPolicy != nil && (!ok || !slowStarts(simple.Simple)) {
			v.fail(p, "only ROUND_ROBIN and LEAST_REQUEST warm up", "take warmup away, or change simple")
		}
	}
	hash := lb.GetConsistentHash()
	if hash == nil {
		return
	}
	path += ".consistentHash"
	switch k := hash.HashKey.(type) {
	case nil:
		v.trap(path, "without a key every request goes to any host", "add httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName")
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpCookie:
		v.required(path+".httpCookie.name", k.HttpCookie.GetName())
		if k.HttpCookie.GetTtl().AsDuration() < 0 {
			v.fail(path+".httpCookie.ttl", "must not be negative", "")
		}
		v.cookieAttributes(k.HttpCookie, path+".httpCookie")
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpHeaderName:
		if v.required(path+".httpHeaderName", k.HttpHeaderName) && !headerName(k.HttpHeaderName) {
			v.fail(path+".httpHeaderName", fmt.Sprintf("%q is not a header's name", k.HttpHeaderName), "")
		}
	case *networking.LoadBalancerSettings_ConsistentHashLB_HttpQueryParameterName:
		v.required(path+".httpQueryParameterName", k.HttpQueryParameterName)
	}
	if n := hash.GetRingHash().GetMinimumRingSize(); n > maxRing {
		v.fail(path+".ringHash.minimumRingSize", fmt.Sprintf("must be at most %d, got %d", maxRing, n), "")
	} else if n > slowRing {
		v.trap(path+".ringHash.minimumRingSize", fmt.Sprintf("Envoy builds a ring of %d anew at each change of endpoints, and does nothing else meanwhile: some seconds for each million", n),
			"write 1024 (the default) to 65536, or maglev")
	}
	if m := hash.GetMaglev(); m != nil && (m.TableSize >= maxMaglev || !prime(m.TableSize)) {
		v.fail(path+".maglev.tableSize", fmt.Sprintf("must be a prime number below %d, got %d", maxMaglev, m.TableSize), "write 65537")
	}
}

func (v *validator) cookieAttributes(c *networking.LoadBalancerSettings_ConsistentHashLB_HTTPCookie, path string) {
	for i, a := range c.GetAttributes() {
		p := index(path+".attributes", i)
		if v.required(p+".name", a.GetName()) && !headerName(a.GetName()) {
			v.fail(p+".name", fmt.Sprintf("%q is not the name of a cookie's attribute", a.GetName()), "write for example SameSite, Secure or HttpOnly")
		}
		if strings.ContainsAny(a.GetValue(), ";\r\n") {
			v.fail(p+".value", "must not contain ';' or a line break", "")
		}
	}
	if len(c.GetAttributes()) > 0 && c.GetTtl() == nil {
		v.trap(path+".attributes", "without ttl no cookie is ever set: the attributes have no effect", "add ttl: 0s for a session cookie")
	}
}

func slowStarts(s networking.LoadBalancerSettings_SimpleLB) bool {
	switch s {
	case networking.LoadBalancerSettings_UNSPECIFIED, networking.LoadBalancerSettings_ROUND_ROBIN, networking.LoadBalancerSettings_LEAST_REQUEST:
		return true
	}
	return false
}

func prime(n uint64) bool {
	if n < 2 {
		return false
	}
	for i := uint64(2); i*i <= n; i++ {
		if n%i == 0 {
			return false
		}
	}
	return true
}

func (v *validator) connectionPool(p *networking.ConnectionPoolSettings, path string) {
	if p == nil {
		return
	}
	if p.Tcp == nil && p.Http == nil {
		v.fail(path, "an empty connectionPool", "add tcp or http, or take it away")
	}
	if t := p.Tcp; t != nil {
		p := path + ".tcp"
		v.notNegative(p+".maxConnections", t.MaxConnections)
		v.positive(p+".connectTimeout", t.ConnectTimeout, "leave it out for 10s")
		v.positive(p+".maxConnectionDuration", t.MaxConnectionDuration, "leave it out for none")
		v.notBelowZero(p+".idleTimeout", t.IdleTimeout)
		v.positive(p+".tcpKeepalive.time", t.TcpKeepalive.GetTime(), "")
		v.positive(p+".tcpKeepalive.interval", t.TcpKeepalive.GetInterval(), "")
	}
	if h := p.Http; h != nil {
		p := path + ".http"
		v.notNegative(p+".http1MaxPendingRequests", h.Http1MaxPendingRequests)
		v.notNegative(p+".http2MaxRequests", h.Http2MaxRequests)
		v.notNegative(p+".maxRequestsPerConnection", h.MaxRequestsPerConnection)
		v.notNegative(p+".maxRetries", h.MaxRetries)
		v.notNegative(p+".maxConcurrentStreams", h.MaxConcurrentStreams)
		v.notBelowZero(p+".idleTimeout", h.IdleTimeout)
		if k := h.Http2KeepAlive; k != nil {
			for name, d := range map[string]*durationpb.Duration{".interval": k.Interval, ".timeout": k.Timeout} {
				if d == nil {
					v.fail(p+".http2KeepAlive", name[1:]+" is required", "")
				}
				v.positive(p+".http2KeepAlive"+name, d, "")
			}
		}
		if h.UseClientProtocol && h.H2UpgradePolicy == networking.ConnectionPoolSettings_HTTPSettings_UPGRADE {
			v.fail(p+".useClientProtocol", "useClientProtocol and h2UpgradePolicy: UPGRADE exclude each other", "keep one")
		}
	}
}

func (v *validator) notBelowZero(path string, d *durationpb.Duration) {
	if d.AsDuration() < 0 {
		v.fail(path, "must not be negative", "")
	}
}

func (v *validator) outlier(o *networking.OutlierDetection, path string) {
	if o == nil {
		return
	}
	v.positive(path+".interval", o.Interval, "leave it out for 10s")
	v.positive(path+".baseEjectionTime", o.BaseEjectionTime, "leave it out for 30s")
	v.within(path+".maxEjectionPercent", int64(o.MaxEjectionPercent), 0, 100)
	v.within(path+".minHealthPercent", int64(o.MinHealthPercent), 0, 100)
	if o.ConsecutiveLocalOriginFailures != nil && !o.SplitExternalLocalOriginErrors {
		v.fail(path+".consecutiveLocalOriginFailures", "needs splitExternalLocalOriginErrors", "add splitExternalLocalOriginErrors: true")
	}
	for i, code := range o.OutlierDetectionHttpErrorCodes {
		v.within(index(path+".outlierDetectionHttpErrorCodes", i), int64(code), 100, 599)
	}
	if o.MaxEjectionPercent == 0 {
		v.note(path, "maxEjectionPercent is 10 unless given: of fewer than ten hosts at most one is ejected, of three perhaps none", "add maxEjectionPercent: 100")
	}
}
