package generated

import (
	"encoding/base64"
	"fmt"
	"strings"
)

const (
	rootNamespace = "istio-system"
	// SecondNamespace has the proxies that are not in namespace default.
	SecondNamespace = "shop"
)

// Keys are what TLS needs, made once for many meshes.
type Keys struct {
	// Certificate, Key, CA and CRL are PEM.
	Certificate, Key, CA, CRL []byte
	// Files are the paths of the same.
	CertificateFile, KeyFile, CAFile, CRLFile string
}

// service is one of the mesh's own.
type service struct {
	namespace, name string
	full            string // the host of one that is no Kubernetes Service
	ports           []servicePort
}

type servicePort struct {
	name, protocol string
	number         int
}

func (s service) host() string {
	if s.full != "" {
		return s.full
	}
	return s.name + "." + s.namespace + ".svc.cluster.local"
}

// base is what the other objects are about: services with random ports, their workloads, secrets.
func (g *generator) base() []Document {
	docs := []Document{
		document("v1", "Secret", "credential", rootNamespace, nil, "type", "kubernetes.io/tls", "data", secretData("tls.crt", g.opt.Keys.Certificate, "tls.key", g.opt.Keys.Key)),
		document("v1", "Secret", "mutual", rootNamespace, nil, "data", secretData("cert", g.opt.Keys.Certificate, "key", g.opt.Keys.Key, "cacert", g.opt.Keys.CA)),
		document("v1", "Secret", "roots", rootNamespace, nil, "data", secretData("ca.crt", g.opt.Keys.CA)),
		document("v1", "Secret", "credential", "default", nil, "data", secretData("tls.crt", g.opt.Keys.Certificate, "tls.key", g.opt.Keys.Key, "ca.crt", g.opt.Keys.CA)),
	}
	for _, name := range []string{"reviews", "ratings", SecondNamespace + "/details", rootNamespace + "/tools"} {
		s := service{namespace: "default", name: name}
		if ns, n, ok := strings.Cut(name, "/"); ok {
			s.namespace, s.name = ns, n
		}
		s.ports = g.ports(s.name == "tools")
		g.services = append(g.services, s)
		docs = append(docs, g.serviceDocument(s, len(g.services)))
		for i := range 2 {
			docs = append(docs, g.pod(s, len(g.services), i+1))
		}
	}
	for _, s := range []service{g.services[0], g.services[2]} {
		docs = append(docs, document(g.tables.known["DestinationRule"].apiVersion, "DestinationRule", "subsets-of-"+s.name, s.namespace, nil,
			"spec", map[string]any{"host": s.host(), "subsets": []any{
				map[string]any{"name": "v1", "labels": map[string]any{"version": "v1"}}, map[string]any{"name": "v2", "labels": map[string]any{"version": "v2"}}}}))
	}
	return docs
}

func secretData(pairs ...any) map[string]any {
	out := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i].(string)] = base64.StdEncoding.EncodeToString(pairs[i+1].([]byte))
	}
	return out
}

// document makes a Kubernetes object; rest are top-level keys and values.
func document(apiVersion, kind, name, namespace string, labels map[string]any, rest ...any) Document {
	meta := map[string]any{"name": name, "namespace": namespace}
	if labels != nil {
		meta["labels"] = labels
	}
	out := Document{"apiVersion": apiVersion, "kind": kind, "metadata": meta}
	for i := 0; i < len(rest); i += 2 {
		out[rest[i].(string)] = rest[i+1]
	}
	return out
}

// ports are some of the usual ones; tools has those that providers need.
func (g *generator) ports(tools bool) []servicePort {
	all := []servicePort{{"http", "", 9080}, {"grpc", "", 9070}, {"http2-api", "", 8080}, {"tcp-db", "", 9090}, {"https", "", 9443}, {"tls-pass", "", 9444},
		{"mongo", "", 27017}, {"web", "http", 8081}, {"auto", "", 7000}, {"http-80", "", 80}, {"grpc-web", "", 9071}}
	if tools {
		return []servicePort{{"http-check", "", 8000}, {"grpc-check", "", 9000}}
	}
	out := []servicePort{all[0]}
	for _, p := range all[1:] {
		if g.rand.IntN(6) == 0 {
			out = append(out, p)
		}
	}
	return out
}

func (g *generator) serviceDocument(s service, n int) Document {
	var ports []any
	for _, p := range s.ports {
		port := map[string]any{"name": p.name, "port": p.number}
		if p.protocol != "" {
			port["appProtocol"] = p.protocol
		}
		if g.rand.IntN(4) == 0 {
			port["targetPort"] = p.number + 10000
		}
		ports = append(ports, port)
	}
	spec := map[string]any{"selector": map[string]any{"app": s.name}, "ports": ports}
	switch g.rand.IntN(4) {
	case 0:
		spec["clusterIP"] = "None"
	case 1, 2:
		spec["clusterIP"] = fmt.Sprintf("10.96.0.%d", n)
	}
	return document("v1", "Service", s.name, s.namespace, nil, "spec", spec)
}

func (g *generator) pod(s service, n, i int) Document {
	labels := map[string]any{"app": s.name, "version": fmt.Sprintf("v%d", i), "topology.kubernetes.io/region": pick(g, "r1", "r2"), "topology.kubernetes.io/zone": pick(g, "z1", "z2")}
	if g.rand.IntN(3) == 0 {
		labels["security.istio.io/tlsMode"] = "istio"
	}
	return document("v1", "Pod", fmt.Sprintf("%s-%d", s.name, i), s.namespace, labels,
		"spec", map[string]any{"serviceAccountName": pick(g, "default", s.name)},
		"status", map[string]any{"podIP": fmt.Sprintf("127.9.%d.%d", n, i), "conditions": []any{map[string]any{"type": "Ready", "status": pick(g, "True", "True", "True", "False")}}})
}

// anyService is one of the mesh's own.
func (g *generator) anyService() service { return g.services[g.rand.IntN(len(g.services))] }

// known is a service that may be named, and how.
func (g *generator) known() (service, string) {
	if len(g.entries) > 0 && g.rand.IntN(4) == 0 {
		s := g.entries[g.rand.IntN(len(g.entries))]
		return s, s.full
	}
	s := g.anyService()
	if s.namespace == g.namespace && g.rand.IntN(3) == 0 {
		return s, s.name
	}
	return s, s.host()
}

// host is what a host may be called.
func (g *generator) host() string {
	_, name := g.known()
	return name
}

// destination makes host, port and subset go together.
func (g *generator) destination(m map[string]any) {
	s, name := g.known()
	if m["subset"] != nil {
		s = g.services[pick(g, 0, 2)] // those that base has subsets of
		name = s.host()
	}
	m["host"] = name
	m["port"] = map[string]any{"number": s.ports[g.rand.IntN(len(s.ports))].number}
}

// own is a service of the namespace at hand.
func (g *generator) own() service {
	for {
		if s := g.anyService(); s.namespace == g.namespace {
			return s
		}
	}
}

// port is a number that some service has.
func (g *generator) port() int {
	s := g.anyService()
	return s.ports[g.rand.IntN(len(s.ports))].number
}

// labels select a workload.
func (g *generator) labels() map[string]any {
	out := map[string]any{"app": pick(g, "reviews", "reviews", "details", "tools", "gateway")}
	if g.rand.IntN(4) == 0 {
		out["version"] = pick(g, "v1", "v2")
	}
	if g.rand.IntN(12) == 0 {
		return map[string]any{"istio": "ingressgateway"}
	}
	return out
}
