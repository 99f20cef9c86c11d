package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Proxy is an Envoy that can be asked.
type Proxy struct {
	Workload
	// Get returns a page of its administration interface.
	Get func(ctx context.Context, path string) ([]byte, error)
}

// Sample is what proxies have counted up to a time.
type Sample struct {
	At       time.Time
	links    map[link]count
	clusters map[clusterOf]cluster
	times    map[clusterOf]times
}

// link is one endpoint as one proxy sees it.
type link struct {
	pod, cluster string // of the caller, "name.namespace"
	address      string // IP:port
}

// count is an endpoint's. A request for which no connection came about is among the errors, and not in total; nor is a connection that
// did not come about, of bytes.
type count struct{ total, success, errors, unconnected uint64 }

// of protocol are how many requests, or connections, and how many failures.
func (c count) of(protocol string) (requests, failed uint64) {
	if protocol == protocolHTTP {
		return max(c.total, c.success+c.errors), c.errors
	}
	return c.total + c.unconnected, c.unconnected
}

type clusterOf struct{ pod, cluster string }

// cluster is what is counted for all endpoints of a cluster together.
type cluster struct{ attempts, failed, handshakes, http uint64 }

// connections are those that came about.
func (c cluster) connections() uint64 { return c.attempts - min(c.failed, c.attempts) }

// Protocols of edges.
const (
	protocolHTTP = "http"
	protocolTCP  = "tcp"
)

func (c cluster) protocol(ends count) string {
	if c.http > 0 || ends.success+ends.errors > 0 {
		return protocolHTTP
	}
	return protocolTCP
}

// passthrough is the cluster of connections that no service takes.
const passthrough = "PassthroughCluster"

// followed tells whether a cluster is of what the workload sends.
func followed(name string) bool {
	return strings.HasPrefix(name, "outbound|") && strings.Count(name, "|") == 3 || name == passthrough
}

// host and subset of "outbound|9080|v1|reviews.default.svc.cluster.local".
func (l link) host() string   { return l.part(3) }
func (l link) subset() string { return l.part(2) }

func (l link) part(i int) string {
	if parts := strings.Split(l.cluster, "|"); len(parts) == 4 {
		return parts[i]
	}
	return ""
}

// Pages of Envoy's administration interface, in the order in which they are asked for. Envoy sums histograms up when it is asked for
// statistics, and tells of the sums from before: so it is first asked for none. What is not about clusters that something was sent to
// would be most of the last one.
const (
	sumsPage     = "/stats?type=Histograms&usedonly&filter=%5E%24"
	clustersPage = "/clusters?format=json"
	statsPage    = "/stats?format=json&usedonly&histogram_buckets=disjoint&filter=" +
		"%5Ecluster%5C..%2A%5C.%28ssl%5C.handshake%7Cupstream_cx_total%7Cupstream_cx_connect_fail%7Cupstream_cx_http%5B123%5D_total%7Cupstream_rq_time%29%24"
)

// asking is how many proxies are asked at once.
const asking = 16

// Look asks proxies what they have counted. Those that do not answer are left out, and told of in silent.
func Look(ctx context.Context, proxies []Proxy, now func() time.Time) (s Sample, silent []error) {
	s = Sample{links: map[link]count{}, clusters: map[clusterOf]cluster{}, times: map[clusterOf]times{}}
	var mu sync.Mutex
	var all sync.WaitGroup
	places := make(chan struct{}, asking)
	for _, p := range proxies {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			var pages [3][]byte
			var err error
			for i, page := range []string{sumsPage, clustersPage, statsPage} {
				if err == nil {
					pages[i], err = p.Get(ctx, page)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = s.add(p.Name+"."+p.Namespace, pages[1], pages[2])
			}
			if err != nil {
				silent = append(silent, fmt.Errorf("ask the proxy of %s.%s: %w", p.Name, p.Namespace, err))
			}
		})
	}
	all.Wait()
	s.At = now()
	return s, silent
}

// add reads the pages of one proxy.
func (s Sample) add(pod string, clusters, stats []byte) error {
	var c struct {
		Clusters []struct {
			Name  string `json:"name"`
			Stat  string `json:"observability_name"` // its name in statistics
			Hosts []struct {
				Address struct {
					Socket struct {
						Address string `json:"address"`
						Port    int    `json:"port_value"`
					} `json:"socket_address"`
				} `json:"address"`
				Stats []struct {
					Name  string          `json:"name"`
					Value json.RawMessage `json:"value"` // a string, or the number 0
				} `json:"stats"`
			} `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
	if err := json.Unmarshal(clusters, &c); err != nil {
		return fmt.Errorf("read clusters: %w", err)
	}
	names := map[string]string{}
	for _, c := range c.Clusters {
		if !followed(c.Name) {
			continue
		}
		names[c.Stat] = c.Name
		for _, h := range c.Hosts {
			l := link{pod, c.Name, net.JoinHostPort(h.Address.Socket.Address, strconv.Itoa(h.Address.Socket.Port))}
			n := s.links[l]
			for _, x := range h.Stats {
				v, err := strconv.ParseUint(strings.Trim(string(x.Value), `"`), 10, 64)
				switch {
				case err != nil:
				case x.Name == "rq_total":
					n.total += v
				case x.Name == "rq_success":
					n.success += v
				case x.Name == "rq_error":
					n.errors += v
				case x.Name == "cx_connect_fail":
					n.unconnected += v
				}
			}
			s.links[l] = n
		}
	}
	return s.addStats(pod, names, stats)
}

// addStats reads statistics of clusters, whose names in them are given.
func (s Sample) addStats(pod string, names map[string]string, stats []byte) error {
	var x struct {
		Stats []struct {
			Name       string      `json:"name"`
			Value      uint64      `json:"value"`
			Histograms []histogram `json:"histograms"` // all in one entry
		} `json:"stats"`
	}
	if err := json.Unmarshal(stats, &x); err != nil {
		return fmt.Errorf("read statistics: %w", err)
	}
	for _, v := range x.Stats {
		for _, h := range v.Histograms {
			if name, ok := names[h.cluster()]; ok {
				s.times[clusterOf{pod, name}] = h.times()
			}
		}
		own, stat := v.Name, ""
		for _, end := range []string{".ssl.handshake", ".upstream_cx_total", ".upstream_cx_connect_fail", ".upstream_cx_http1_total", ".upstream_cx_http2_total", ".upstream_cx_http3_total"} {
			if before, ok := strings.CutSuffix(v.Name, end); ok {
				own, stat = strings.TrimPrefix(before, "cluster."), end
			}
		}
		name, ok := names[own]
		if !ok || v.Value == 0 {
			continue
		}
		k := clusterOf{pod, name}
		c := s.clusters[k]
		switch stat {
		case ".ssl.handshake":
			c.handshakes += v.Value
		case ".upstream_cx_total":
			c.attempts += v.Value
		case ".upstream_cx_connect_fail":
			c.failed += v.Value
		default:
			c.http += v.Value
		}
		s.clusters[k] = c
	}
	return nil
}
