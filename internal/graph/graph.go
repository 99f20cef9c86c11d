// Package graph is who calls whom in a mesh, how often, with which share of errors and whether by TLS: seen by the callers' proxies,
// which count for each endpoint. It needs no metrics to be switched on, and knows the workload behind an address, whatever service
// it was called by.
package graph

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Workload is a pod of the mesh, or a gateway.
type Workload struct {
	Name, Namespace string // of the pod
	Labels          map[string]string
	Addresses       []string
	Gateway         bool
}

// Graph is what went on between two looks at the proxies.
type Graph struct {
	Time   time.Time `json:"time"`   // of the second look
	Window float64   `json:"window"` // seconds between the looks; 0: there was one only, and no rate is known
	Nodes  []*Node   `json:"nodes"`  // those of the edges, sorted by ID
	Edges  []*Edge   `json:"edges"`  // sorted by From, To, Protocol
}

// Node is all pods of one version of an application, or what is called by a name.
type Node struct {
	ID        string `json:"id"`                  // "namespace/name@version"; what an Edge names
	Name      string `json:"name"`                // Istio's canonical name, or a host
	Namespace string `json:"namespace,omitempty"` // "": it is none of the mesh's
	Version   string `json:"version,omitempty"`
	Kind      string `json:"kind"`
}

// Kinds of nodes.
const (
	KindGateway  = "gateway"
	KindWorkload = "workload"
	KindService  = "service"  // a Service whose pods are not known
	KindExternal = "external" // a host outside
)

// Edge is what one node sends to another.
type Edge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Protocol string   `json:"protocol"`           // "http", "tcp"
	Services []string `json:"services,omitempty"` // by whose names it was sent, sorted
	// Requests since the endpoints came, or connections of TCP, and those of them that failed: 5xx, resets, failures to connect.
	// Each attempt of a retry counts.
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	// Rate is requests a second within the window; Errors the share of failures: of the window, or of all if it had no request.
	Rate   float64 `json:"rate"`
	Errors float64 `json:"errors"`
	TLS    string  `json:"tls"` // "all", "some", "none" of the connections; to workloads it is mutual
	// P50 and P95 are the milliseconds within which half, and 95 %, of the requests were answered, in the window, or ever if it had none. A
	// proxy times what it sends by one name, and subset, together: versions that are called by the same name have the same times. 0: not
	// known, as of TCP.
	P50 float64 `json:"p50,omitempty"`
	P95 float64 `json:"p95,omitempty"`
}

// How much is by TLS.
const (
	TLSAll  = "all"
	TLSSome = "some"
	TLSNone = "none"
)

type edgeKey struct{ from, to, protocol string }

// tally is an edge while links are added to it.
type tally struct {
	Edge
	recent, failing     uint64 // within the window
	connections, secure uint64
	timed               map[clusterOf]bool // those whose times are in
	took, tookRecently  times
}

// Of makes the graph of two looks. before may be the zero Sample: then no rates are known.
func Of(workloads []Workload, before, after Sample) Graph {
	g := Graph{Time: after.At, Nodes: []*Node{}, Edges: []*Edge{}}
	if !before.At.IsZero() {
		g.Window = after.At.Sub(before.At).Seconds()
	}
	who := newDirectory(workloads)
	nodes, edges := map[string]*Node{}, map[edgeKey]*tally{}
	for l, c := range after.links {
		at := after.clusters[clusterOf{l.pod, l.cluster}]
		protocol := at.protocol(c)
		from, to := who.pods[l.pod], who.destination(l)
		if n, _ := c.of(protocol); from == nil || n == 0 {
			continue
		}
		nodes[from.ID] = from
		if known := nodes[to.ID]; known == nil || known.Kind == KindService {
			nodes[to.ID] = to
		}
		k := edgeKey{from.ID, to.ID, protocol}
		e := edges[k]
		if e == nil {
			e = &tally{Edge: Edge{From: k.from, To: k.to, Protocol: k.protocol}, timed: map[clusterOf]bool{}, took: times{}, tookRecently: times{}}
			edges[k] = e
		}
		e.add(l, c, before.links[l], at)
		e.time(clusterOf{l.pod, l.cluster}, after, before)
	}
	for _, e := range edges {
		g.Edges = append(g.Edges, e.done(g.Window))
	}
	for _, n := range nodes {
		g.Nodes = append(g.Nodes, n)
	}
	slices.SortFunc(g.Nodes, func(a, b *Node) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(g.Edges, func(a, b *Edge) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To), strings.Compare(a.Protocol, b.Protocol))
	})
	return g
}

func (e *tally) add(l link, now, was count, at cluster) {
	requests, failed := now.of(e.Protocol)
	earlier, failedEarlier := was.of(e.Protocol)
	e.Requests, e.Failed = e.Requests+requests, e.Failed+failed
	if earlier <= requests && failedEarlier <= failed { // else the endpoint, or its proxy, is another by now
		e.recent, e.failing = e.recent+requests-earlier, e.failing+failed-failedEarlier
	}
	e.connections, e.secure = e.connections+at.connections(), e.secure+at.handshakes
	if host := l.host(); host != "" && !slices.Contains(e.Services, host) {
		e.Services = append(e.Services, host)
	}
}

// time takes in how long the requests of a cluster took, once.
func (e *tally) time(c clusterOf, after, before Sample) {
	if e.Protocol != protocolHTTP || e.timed[c] {
		return
	}
	e.timed[c] = true
	e.took.add(after.times[c], nil)
	e.tookRecently.add(after.times[c], before.times[c])
}

func (e *tally) done(window float64) *Edge {
	slices.Sort(e.Services)
	failed, of := e.Failed, e.Requests
	if window > 0 {
		e.Rate = float64(e.recent) / window
		if e.recent > 0 {
			failed, of = e.failing, e.recent
		}
	}
	e.Errors = float64(min(failed, of)) / float64(of)
	e.P50, e.P95 = e.tookRecently.quantile(0.5), e.tookRecently.quantile(0.95)
	if e.P95 == 0 {
		e.P50, e.P95 = e.took.quantile(0.5), e.took.quantile(0.95)
	}
	switch {
	case e.secure == 0:
		e.TLS = TLSNone
	case e.secure < e.connections:
		e.TLS = TLSSome
	default:
		e.TLS = TLSAll
	}
	return &e.Edge
}

// directory knows nodes by pods and by addresses.
type directory struct {
	pods      map[string]*Node // by "name.namespace"
	addresses map[netip.Addr]*Node
}

func newDirectory(workloads []Workload) directory {
	d := directory{map[string]*Node{}, map[netip.Addr]*Node{}}
	for _, w := range workloads {
		n := w.node()
		d.pods[w.Name+"."+w.Namespace] = n
		for _, a := range w.Addresses {
			// What listens on the machine's own address beside a gateway of the local mesh is not that gateway.
			if ip, err := netip.ParseAddr(a); err == nil && ip != netip.AddrFrom4([4]byte{127, 0, 0, 1}) && ip != netip.IPv6Loopback() {
				d.addresses[ip] = n
			}
		}
	}
	return d
}

// node names a workload as Istio's telemetry does.
func (w Workload) node() *Node {
	label := func(keys ...string) string {
		for _, k := range keys {
			if v := w.Labels[k]; v != "" {
				return v
			}
		}
		return ""
	}
	n := &Node{
		Namespace: w.Namespace, Kind: KindWorkload,
		Name:    cmp.Or(label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"), w.Name),
		Version: label("service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"),
	}
	if w.Gateway {
		n.Kind = KindGateway
		n.Name = cmp.Or(label("service.istio.io/canonical-name", "app.kubernetes.io/name", "app"), strings.TrimSuffix(w.Name, "-0"))
	}
	return n.named()
}

func (n *Node) named() *Node {
	n.ID = n.Name
	if n.Namespace != "" {
		n.ID = n.Namespace + "/" + n.Name
	}
	if n.Version != "" {
		n.ID += "@" + n.Version
	}
	return n
}

// destination is the workload at the address, else what the cluster's name says.
func (d directory) destination(l link) *Node {
	if at, err := netip.ParseAddrPort(l.address); err == nil {
		if n := d.addresses[at.Addr()]; n != nil {
			return n
		}
	}
	host := l.host()
	if host == "" {
		return (&Node{Name: l.address, Kind: KindExternal}).named()
	}
	if name, rest, ok := strings.Cut(host, "."); ok {
		if namespace, domain, ok := strings.Cut(rest, "."); ok && (domain == "svc" || strings.HasPrefix(domain, "svc.")) {
			return (&Node{Name: name, Namespace: namespace, Version: l.subset(), Kind: KindService}).named()
		}
	}
	return (&Node{Name: host, Version: l.subset(), Kind: KindExternal}).named()
}
