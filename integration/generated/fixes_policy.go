package generated

import "fmt"

func policyFixes() map[string]func(*generator, map[string]any) {
	return map[string]func(*generator, map[string]any){
		"TrafficPolicy": func(g *generator, m map[string]any) {
			g.exclusive(m, "tunnel", "proxyProtocol")
			g.unique(m, "portLevelSettings", "port")
			if len(m) == 0 {
				m["loadBalancer"] = map[string]any{"simple": "RANDOM"}
			}
		},
		"LoadBalancerSettings": fixBalancer,
		"LocalityLoadBalancerSetting": func(g *generator, m map[string]any) {
			if m["distribute"] != nil && !g.keeps("failover", "failoverPriority") {
				delete(m, "failover")
				delete(m, "failoverPriority")
			} else if m["failover"] != nil || m["failoverPriority"] != nil {
				delete(m, "distribute")
			}
			g.unique(m, "distribute", "from")
		},
		"ConnectionPoolSettings": func(g *generator, m map[string]any) {
			if len(m) == 0 {
				m["tcp"] = map[string]any{"maxConnections": 10}
			}
		},
		"ConnectionPoolSettings.HTTPSettings": func(g *generator, m map[string]any) {
			if m["useClientProtocol"] == true && m["h2UpgradePolicy"] == "UPGRADE" {
				m["h2UpgradePolicy"] = "DEFAULT"
			}
		},
		"OutlierDetection": func(g *generator, m map[string]any) {
			if m["consecutiveLocalOriginFailures"] != nil {
				m["splitExternalLocalOriginErrors"] = true
			}
		},
		"ClientTLSSettings": fixClientTLS,
		"DestinationRule":   func(g *generator, m map[string]any) { g.unique(m, "subsets", "name"); g.fixSelected(m) },
		"Server":            (*generator).fixServer,
		"Gateway":           (*generator).fixGateway,
		"ServiceEntry":      (*generator).fixEntry,
		"WorkloadGroup": func(g *generator, m map[string]any) {
			if t, ok := m["template"].(map[string]any); ok {
				delete(t, "labels")
				delete(t, "address")
			}
		},
		"WorkloadEntry": func(g *generator, m map[string]any) {
			if a, _ := m["address"].(string); len(a) > 5 && a[:5] == "unix:" {
				delete(m, "ports")
			}
		},
		"Sidecar": (*generator).fixSidecar,
		"OutboundTrafficPolicy": func(g *generator, m map[string]any) {
			if p, ok := m["egressProxy"].(map[string]any); ok {
				m["mode"] = "ALLOW_ANY"
				if p["port"] == nil {
					p["port"] = map[string]any{"number": g.port()}
				}
			}
		},
		"PeerAuthentication": func(g *generator, m map[string]any) {
			if m["portLevelMtls"] != nil && m["selector"] == nil {
				m["selector"] = map[string]any{"matchLabels": g.labels()}
			}
		},
		"AuthorizationPolicy":   (*generator).fixAuthorization,
		"Source":                fixSource,
		"Operation":             func(g *generator, m map[string]any) { fill(m, "methods", []any{"GET"}) },
		"Condition":             fixCondition,
		"RequestAuthentication": func(g *generator, m map[string]any) { g.exclusive(m, "selector", "targetRef", "targetRefs") },
		"JWTRule": func(g *generator, m map[string]any) {
			g.exclusive(m, "jwks", "jwksUri")
			g.unique(m, "outputClaimToHeaders", "header")
		},
		"MeshConfig.ExtensionProvider.EnvoyExternalAuthorizationRequestBody": func(g *generator, m map[string]any) { fill(m, "maxRequestBytes", 1024) },
	}
}

// fill sets a field of an empty message.
func fill(m map[string]any, name string, value any) {
	if len(m) == 0 {
		m[name] = value
	}
}

// unique drops the items of a list that have the same value of a field as one before.
func (g *generator) unique(m map[string]any, list, field string) {
	items, ok := m[list].([]any)
	if !ok {
		return
	}
	seen := map[string]bool{}
	var out []any
	for _, item := range items {
		i, ok := item.(map[string]any)
		if ok && !seen[text(i[field])] {
			seen[text(i[field])] = true
			out = append(out, i)
		}
	}
	m[list] = out
}

func fixBalancer(g *generator, m map[string]any) {
	g.exclusive(m, "localityLbSetting", "zoneAwareLbSetting")
	if m["warmup"] != nil && g.keeps("warmup") {
		delete(m, "consistentHash")
		m["simple"] = pick(g, "ROUND_ROBIN", "LEAST_REQUEST")
	} else if m["consistentHash"] != nil || m["simple"] != "ROUND_ROBIN" {
		delete(m, "warmup")
	}
	if len(m) == 0 {
		m["simple"] = "ROUND_ROBIN"
	}
}

func fixClientTLS(g *generator, m map[string]any) {
	files := []string{"clientCertificate", "privateKey", "caCertificates", "caCrl"}
	switch {
	case g.keeps("credentialName"):
		m["mode"] = pick(g, "SIMPLE", "MUTUAL")
		for _, f := range files {
			delete(m, f)
		}
	case g.keeps(files...):
		m["mode"] = "MUTUAL"
		delete(m, "credentialName")
	}
	switch m["mode"] {
	case "MUTUAL":
		if m["credentialName"] != nil {
			for _, f := range files {
				delete(m, f)
			}
		} else {
			m["clientCertificate"], m["privateKey"] = g.opt.Keys.CertificateFile, g.opt.Keys.KeyFile
		}
	case "SIMPLE":
		delete(m, "clientCertificate")
		delete(m, "privateKey")
		if m["credentialName"] != nil {
			delete(m, "caCertificates")
			delete(m, "caCrl")
		}
	default:
		for _, f := range append(files, "credentialName") {
			delete(m, f)
		}
	}
	if m["caCrl"] != nil {
		m["caCertificates"] = g.opt.Keys.CAFile
	}
}

// fixSelected: a DestinationRule for some workloads is for its own namespace.
func (g *generator) fixSelected(m map[string]any) {
	if m["workloadSelector"] != nil {
		if g.keeps("exportTo") {
			delete(m, "workloadSelector")
		} else {
			delete(m, "exportTo")
		}
	}
}

// fixServer makes a server's TLS go with its protocol, and its protocol with the port, since all gateways share their pods.
func (g *generator) fixServer(m map[string]any) {
	port, _ := m["port"].(map[string]any)
	tls, _ := m["tls"].(map[string]any)
	if port == nil || tls == nil {
		return
	}
	redirect := g.focused(g.path + ".tls.httpsRedirect")
	if g.keeps("tls") && !redirect {
		port["number"] = pick(g, 443, 8443, 15443)
	} else if redirect {
		port["number"] = 80
	}
	switch port["number"] {
	case 443, 8443, 15443:
		port["protocol"] = pick(g, "HTTPS", "HTTPS", "TLS")
		delete(tls, "httpsRedirect")
		g.fixServerTLS(tls)
		var hosts []any // a certificate for each
		for i := range 1 + g.rand.IntN(2) {
			hosts = append(hosts, fmt.Sprintf("%st%d-%d-%d.example.com", pick(g, "", "*/", "*."), g.serial, g.rand.IntN(100), i))
		}
		m["hosts"] = hosts
		return
	case 9000:
		port["protocol"] = "TCP"
	default:
		if p := port["protocol"]; p == "HTTPS" || p == "TLS" || p == "TCP" {
			port["protocol"] = "HTTP"
		}
	}
	clear(tls)
	tls["httpsRedirect"] = port["protocol"] == "HTTP" && (redirect || g.rand.IntN(2) == 0)
}

func (g *generator) fixServerTLS(tls map[string]any) {
	sources := []string{"credentialName", "credentialNames", "tlsCertificates", "serverCertificate"}
	checks := []string{"caCertificates", "caCrl", "caCertCredentialName", "subjectAltNames", "verifyCertificateSpki", "verifyCertificateHash", "insecureSkipVerify"}
	at := g.path + ".tls"
	keeps := func(names []string) bool {
		for _, n := range names {
			if g.focused(at + "." + n) {
				return true
			}
		}
		return false
	}
	switch {
	case keeps(checks):
		tls["mode"] = pick(g, "MUTUAL", "OPTIONAL_MUTUAL")
	case keeps(append(sources, "privateKey")):
		tls["mode"] = pick(g, "SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL")
	}
	if mode := tls["mode"]; mode == "PASSTHROUGH" || mode == "ISTIO_MUTUAL" {
		for _, k := range append(append(sources, checks...), "privateKey") {
			delete(tls, k)
		}
		return
	}
	source := pick(g, sources...)
	for _, s := range sources {
		if g.focused(at + "." + s) {
			source = s
		}
	}
	if g.focused(at+".privateKey") || g.focused(at+".caCertificates") || g.focused(at+".caCrl") {
		source = "serverCertificate"
	}
	for _, s := range append(sources, "privateKey") {
		if s != source {
			delete(tls, s)
		}
	}
	switch source {
	case "credentialName":
		tls[source] = pick(g, "credential", "mutual")
	case "credentialNames":
		tls[source] = []any{pick(g, "credential", "mutual")}
	case "serverCertificate":
		tls[source], tls["privateKey"] = g.opt.Keys.CertificateFile, g.opt.Keys.KeyFile
	case "tlsCertificates":
		tls[source] = []any{map[string]any{"serverCertificate": g.opt.Keys.CertificateFile, "privateKey": g.opt.Keys.KeyFile}}
	}
	switch mutual := tls["mode"] != "SIMPLE"; {
	case !mutual:
		for _, k := range checks {
			delete(tls, k)
		}
	case source == "credentialName" || source == "credentialNames":
		delete(tls, "caCertificates")
		delete(tls, "caCrl")
		if tls["caCertCredentialName"] == nil {
			if source == "credentialName" {
				tls[source] = "mutual"
			} else {
				tls[source] = []any{"mutual"}
			}
		}
	default:
		delete(tls, "caCertCredentialName")
		tls["caCertificates"] = g.opt.Keys.CAFile
	}
	if tls["minProtocolVersion"] != nil && tls["maxProtocolVersion"] != nil {
		tls["maxProtocolVersion"] = "TLSV1_3"
	}
}

// fixGateway gives servers ports of their own.
func (g *generator) fixGateway(m map[string]any) {
	g.unique(m, "servers", "port")
	list, _ := m["servers"].([]any)
	for i, s := range list {
		if port, ok := dig(s.(map[string]any), "port").(map[string]any); ok {
			port["name"] = fmt.Sprintf("p%d", i)
		}
	}
}

// fixEntry makes addresses, endpoints and hosts go with the resolution.
func (g *generator) fixEntry(m map[string]any) {
	g.unique(m, "ports", "number")
	g.unique(m, "ports", "name")
	if g.keeps("endpoints") {
		m["resolution"] = pick(g, "STATIC", "DNS", "DNS_ROUND_ROBIN")
	} else if g.keeps("workloadSelector") {
		m["resolution"] = "STATIC"
	}
	g.exclusive(m, "endpoints", "workloadSelector")
	resolution, _ := m["resolution"].(string)
	hosts, _ := m["hosts"].([]any)
	for i := range hosts {
		h := g.entryHost()
		switch resolution {
		case "DYNAMIC_DNS":
			h = fmt.Sprintf("*.e%d-%d.example.com", g.serial, i)
		case "DNS", "DNS_ROUND_ROBIN":
			h = fmt.Sprintf("e%d-%d.example.com", g.serial, i)
		}
		hosts[i] = h
	}
	ports, _ := m["ports"].([]any)
	for i, p := range ports {
		p := p.(map[string]any)
		p["name"] = fmt.Sprintf("p%d", i)
		if i == 0 {
			p["name"] = "http"
		}
		if resolution == "NONE" {
			delete(p, "targetPort")
		}
		if resolution == "DYNAMIC_DNS" {
			p["protocol"] = pick(g, "HTTP", "HTTP2", "GRPC")
		}
	}
	if resolution == "NONE" || resolution == "DYNAMIC_DNS" {
		delete(m, "endpoints")
	}
	if resolution != "STATIC" {
		delete(m, "workloadSelector")
	}
	if resolution != "NONE" && resolution != "STATIC" && m["addresses"] != nil {
		m["addresses"] = []any{"240.1.2.3"}
	}
	endpoints, _ := m["endpoints"].([]any)
	if resolution == "DNS_ROUND_ROBIN" && len(endpoints) > 1 {
		m["endpoints"] = endpoints[:1]
	}
	for _, e := range endpoints {
		e, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if resolution == "STATIC" && e["address"] == "one.example.com" {
			e["address"] = "127.9.99.3"
		}
		if a := fmt.Sprint(e["address"]); resolution != "STATIC" && len(a) > 5 && a[:5] == "unix:" {
			e["address"] = "one.example.com"
		}
	}
}

// fixSidecar gives ports to listeners that need one of their own.
func (g *generator) fixSidecar(m map[string]any) {
	g.unique(m, "ingress", "port")
	g.unique(m, "egress", "port")
}

func (g *generator) fixAuthorization(m map[string]any) {
	g.exclusive(m, "selector", "targetRef", "targetRefs")
	if g.keeps("provider") {
		m["action"] = "CUSTOM"
	}
	if m["action"] != "CUSTOM" {
		delete(m, "provider")
		return
	}
	if m["provider"] == nil {
		m["provider"] = map[string]any{"name": pick(g, "ext-http", "ext-grpc")}
	}
	m["rules"] = []any{map[string]any{"to": []any{map[string]any{"operation": map[string]any{"paths": []any{"/admin*"}}}}}}
}

func fixSource(g *generator, m map[string]any) {
	if g.keeps("serviceAccounts", "notServiceAccounts") {
		for _, k := range []string{"principals", "notPrincipals", "namespaces", "notNamespaces"} {
			delete(m, k)
		}
	} else if m["principals"] != nil || m["notPrincipals"] != nil || m["namespaces"] != nil || m["notNamespaces"] != nil {
		delete(m, "serviceAccounts")
		delete(m, "notServiceAccounts")
	}
	fill(m, "principals", []any{"*"})
}

// fixCondition gives a condition values of its key's form.
func fixCondition(g *generator, m map[string]any) {
	values := []any{"a", "b*"}
	switch m["key"] {
	case "source.ip", "remote.ip", "destination.ip":
		values = []any{"10.0.0.0/8", "1.2.3.4"}
	case "destination.port":
		values = []any{"80", "9080"}
	case "source.serviceAccount":
		values = []any{"default/reviews"}
	}
	for _, k := range []string{"values", "notValues"} {
		if m[k] != nil {
			m[k] = values
		}
	}
}
