package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	meshconfig "istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/controlplane/effective"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/protoerr"
)

// Ports of a pod's proxy, as Istio's.
const (
	adminPort   = 15000
	statusPort  = 15020
	readyPort   = 15021
	metricsPort = 15090
)

// settings are what an agent does, made from its environment.
type settings struct {
	node      bootstrap.Options
	start     effective.Start
	discovery string // host:port of the control plane
	authority string // host:port of the certificate authority
	secure    bool   // both with TLS, and an identity for the workload
	ip        netip.Addr
	ips       []netip.Addr // all of the pod's; ip is the first
	admin     uint32
	status    uint32 // the agent's own port; 0: none
	probers   map[string]prober
	scrape    *scrape         // where the application's metrics are; nil: it has none
	module    mesh.FilterHost // what runs the policies, as the module that was found says; "": the metadata says it
	// exitOnZero ends Envoy as soon as it has no connection left, after minimumDrain, instead of after start.TerminationDrain.
	exitOnZero   bool
	minimumDrain time.Duration
}

// environment reads variables.
type environment func(string) string

func (e environment) flag(name string) bool {
	b, err := strconv.ParseBool(e(name))
	return err == nil && b
}

// read makes settings of an environment.
func read(o Options) (settings, error) {
	env := environment(o.Getenv)
	config, err := proxyConfig(env("PROXY_CONFIG"))
	if err != nil {
		return settings{}, err
	}
	ips, err := addresses(env("INSTANCE_IP"), o.Addresses)
	if err != nil {
		return settings{}, err
	}
	pod := effective.Pod{Namespace: cmp.Or(env("POD_NAMESPACE"), "default")}
	if pod.Labels, err = podInfo(o.Paths.PodInfo, "labels"); err == nil {
		pod.Annotations, err = podInfo(o.Paths.PodInfo, "annotations")
	}
	if err != nil {
		return settings{}, err
	}
	defaults := effective.DefaultStart()
	defaults.Workers = workers(env("ISTIO_CPU_LIMIT"))
	s := settings{
		start: effective.StartOf(config, pod, defaults), ip: ips[0], ips: ips,
		discovery: cmp.Or(config.GetDiscoveryAddress(), "mizzen-controlplane.istio-system.svc:15012"),
		admin:     uint32(cmp.Or(config.GetProxyAdminPort(), adminPort)), status: uint32(cmp.Or(config.GetStatusPort(), statusPort)),
		exitOnZero: env.flag("EXIT_ON_ZERO_ACTIVE_CONNECTIONS"), minimumDrain: span(env("MINIMUM_DRAIN_DURATION"), 5*time.Second),
	}
	_, port, err := net.SplitHostPort(s.discovery)
	if err != nil {
		return settings{}, fmt.Errorf("read discoveryAddress: %w", err)
	}
	s.secure, s.authority = port != "15010", cmp.Or(env("CA_ADDR"), s.discovery)
	if s.probers, err = probers(env("ISTIO_KUBE_APP_PROBERS")); err != nil {
		return settings{}, err
	}
	if s.scrape, err = scraped(env("ISTIO_PROMETHEUS_ANNOTATIONS"), pod.Annotations, s.status); err != nil {
		return settings{}, err
	}
	return s, s.describe(o, env, pod)
}

// proxyConfig reads PROXY_CONFIG: JSON or YAML. Fields of later versions are passed over.
func proxyConfig(text string) (*meshconfig.ProxyConfig, error) {
	out := &meshconfig.ProxyConfig{}
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read PROXY_CONFIG: %w", err)
	}
	if strings.TrimSpace(text) == "" {
		return out, nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, out); err != nil {
		return nil, fmt.Errorf("read PROXY_CONFIG: %s", protoerr.Plain(err))
	}
	return out, nil
}

// addresses of the pod, at least one: those that the downward API says, then those that interfaces have besides, as pilot-agent has it: rules of
// interception, too, are for what interfaces have.
func addresses(said string, interfaces func() ([]netip.Addr, error)) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range strings.Split(said, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("read INSTANCE_IP: %w", err)
		}
		out = append(out, ip)
	}
	all, err := interfaces()
	if err != nil {
		return nil, fmt.Errorf("find the pod's addresses: %w", err)
	}
	for _, a := range all {
		if !a.IsLoopback() && !a.IsLinkLocalUnicast() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("find the pod's address: no INSTANCE_IP, and no address but loopback's")
	}
	return out, nil
}

func texts(ips []netip.Addr) []string {
	var out []string
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return out
}

// podInfo reads a file of the downward API: lines of key="value". No file: nothing.
func podInfo(dir, what string) (map[string]string, error) {
	raw, err := os.ReadFile(filepath.Join(dir, what))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the pod's %s: %w", what, err)
	}
	out := map[string]string{}
	for _, line := range strings.Split(string(raw), "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		if text, err := strconv.Unquote(value); err == nil {
			value = text
		}
		out[key] = value
	}
	return out, nil
}

// workers are as many threads as the container may use cores; 0, one for each core, where nothing says how many.
func workers(limit string) int {
	n, err := strconv.ParseFloat(limit, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return max(int(math.Ceil(n)), 1)
}

func span(text string, otherwise time.Duration) time.Duration {
	if d, err := time.ParseDuration(text); err == nil {
		return d
	}
	return otherwise
}

// describe says who the proxy is.
func (s *settings) describe(o Options, env environment, pod effective.Pod) error {
	name := env("POD_NAME")
	if name == "" {
		name, _ = os.Hostname()
	}
	kind := "sidecar"
	if o.Gateway {
		kind = "router"
	}
	metadata, err := s.metadata(o, env, pod, name)
	if err != nil {
		return err
	}
	workload, _ := metadata["WORKLOAD_NAME"].(string)
	service := cmp.Or(pod.Labels["service.istio.io/canonical-name"], pod.Labels["app.kubernetes.io/name"], pod.Labels["app"], workload, name)
	s.node = bootstrap.Options{
		NodeID:   strings.Join([]string{kind, s.ip.String(), name + "." + pod.Namespace, cmp.Or(o.Domain, pod.Namespace+".svc.cluster.local")}, "~"),
		Cluster:  cmp.Or(s.start.Cluster, service+"."+pod.Namespace),
		Metadata: metadata, XDSSocket: o.Paths.xds(), AdminPort: s.admin,
		Runtime: s.start.Runtime, Statsd: s.start.Statsd, MaxConnections: s.start.MaxConnections,
		Status: bootstrap.Status{
			ReadyPort: port(env("ENVOY_STATUS_PORT"), readyPort), AgentPort: s.status,
			MetricsPort: port(env("ENVOY_PROMETHEUS_PORT"), metricsPort), Addresses: texts(s.ips),
		},
	}
	if metadata["MIZZEN_FILTERS"] == string(mesh.HostWasm) {
		s.node.StatsTags = bootstrap.WasmTags()
	}
	return nil
}

func port(text string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}

// metadata of the node: what the pod knows of itself, and every variable ISTIO_META_NAME as NAME, ISTIO_METAJSON_NAME as NAME with a value
// that is JSON.
func (s *settings) metadata(o Options, env environment, pod effective.Pod, name string) (map[string]any, error) {
	out := map[string]any{
		"NAME": name, "NAMESPACE": pod.Namespace, "SERVICE_ACCOUNT": env("SERVICE_ACCOUNT"), "INSTANCE_IPS": strings.Join(texts(s.ips), ","),
		"MESH_ID": s.start.MeshID, "CLUSTER_ID": "Kubernetes", "ISTIO_VERSION": "mizzen", "NODE_IP": env("HOST_IP"),
	}
	if pod.Labels != nil {
		out["LABELS"] = pod.Labels
	}
	if pod.Annotations != nil {
		out["ANNOTATIONS"] = pod.Annotations
	}
	for key, value := range s.start.Metadata {
		out[key] = value
	}
	for _, kv := range o.Environ() {
		variable, value, _ := strings.Cut(kv, "=")
		if key, ok := strings.CutPrefix(variable, "ISTIO_META_"); ok && key != "" && value != "" {
			out[key] = value
		}
		if key, ok := strings.CutPrefix(variable, "ISTIO_METAJSON_"); ok && key != "" && value != "" {
			var v any
			if err := json.Unmarshal([]byte(value), &v); err != nil {
				return nil, fmt.Errorf("read %s: %w", variable, err)
			}
			out[key] = v
		}
	}
	for key, value := range out {
		if value == "" {
			delete(out, key)
		}
	}
	if s.secure {
		out["MIZZEN_SDS"] = bootstrap.SDSCluster
	}
	s.policies(o, out)
	return out, nil
}

// policies says what runs the policies, unless the metadata does: the module that is there. One that is not cannot.
func (s *settings) policies(o Options, metadata map[string]any) {
	said, _ := metadata["MIZZEN_FILTERS"].(string)
	host := mesh.FilterHost(said)
	if host == "" {
		host = found(o.Paths)
		s.module = host
	}
	for _, m := range modules(o.Paths) {
		switch {
		case host != m.host || m.key != "" && metadata[m.key] != nil:
		case !there(m.file):
			o.Log.Warn("no module: Envoy's own filters run the policies", "file", m.file)
			host = mesh.HostNative
		case m.key != "":
			metadata[m.key] = m.file
		}
	}
	metadata["MIZZEN_FILTERS"] = string(host)
}
