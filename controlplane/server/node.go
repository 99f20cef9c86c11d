package server

import (
	"encoding/json"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// metaFilters is the metadata by which a proxy says what runs the policies in it, a mesh.FilterHost.
const metaFilters = "MIZZEN_FILTERS"

// saysFilters tells whether the proxy says what runs the policies in it.
func saysFilters(n *corev3.Node) bool { return text(n.GetMetadata().GetFields()[metaFilters]) != "" }

// ParseNode reads an xDS node in Istio's form, `sidecar~IP~pod.namespace~namespace.svc.cluster.local` with metadata
// NAMESPACE, NAME, LABELS, INTERCEPTION_MODE and Mizzen's MIZZEN_*. Whatever is missing is made up from the rest: an
// unknown proxy is a sidecar with the labels and the namespace that it says it has.
func ParseNode(n *corev3.Node) mesh.Node {
	out := mesh.Node{ID: n.GetId(), Intercepts: true}
	parts := strings.Split(n.GetId(), "~")
	if len(parts) == 4 {
		out.Gateway = parts[0] == "router"
		out.IP, out.Domain = parts[1], parts[3]
		out.Name, out.Namespace = splitLast(parts[2])
	} else {
		out.Name = n.GetId()
	}
	md := n.GetMetadata().GetFields()
	if v := text(md["NAME"]); v != "" {
		out.Name = v
	}
	if v := text(md["NAMESPACE"]); v != "" {
		out.Namespace = v
	}
	if out.Namespace == "" {
		out.Namespace = "default"
		if first, _, ok := strings.Cut(out.Domain, "."); ok && first != "" {
			out.Namespace = first
		}
	}
	if out.Domain == "" {
		out.Domain = out.Namespace + ".svc.cluster.local"
	}
	out.Labels = labels(md["LABELS"])
	if l := n.GetLocality(); l != nil {
		out.Locality = strings.TrimRight(l.GetRegion()+"/"+l.GetZone()+"/"+l.GetSubZone(), "/")
	}
	out.Metadata = texts(md)
	out.Families = mesh.FamiliesOf(append(strings.Split(out.Metadata["INSTANCE_IPS"], ","), out.IP))
	out.Intercepts = text(md["INTERCEPTION_MODE"]) != "NONE"
	out.HTTPProxyPort = port(md["HTTP_PROXY_PORT"])
	out.ServiceAccount = text(md["SERVICE_ACCOUNT"])
	out.Identity = text(md["MIZZEN_SDS"]) != ""
	out.AppAddress = text(md["MIZZEN_APP_ADDRESS"])
	out.BindAddress = text(md["MIZZEN_BIND_ADDRESS"])
	out.Ports = ports(md["MIZZEN_PORTS"])
	out.PodPorts = podPorts(md["POD_PORTS"])
	out.Modules = text(md["MIZZEN_MODULES"])
	file := map[mesh.FilterHost]string{mesh.HostWasm: "MIZZEN_WASM", mesh.HostGolang: "MIZZEN_GOLANG"}
	host := mesh.FilterHost(text(md[metaFilters]))
	return out.RunsOn(host, text(md[file[host]]))
}

// splitLast cuts "pod.namespace" at the last dot: pod names may hold dots, namespaces may not.
func splitLast(s string) (name, namespace string) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// text reads a string; numbers are written out, as bootstraps made from environment variables mix the two.
func text(v *structpb.Value) string {
	switch x := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return x.StringValue
	case *structpb.Value_NumberValue:
		return strconv.FormatFloat(x.NumberValue, 'f', -1, 64)
	}
	return ""
}

func port(v *structpb.Value) uint32 { return parsePort(text(v)) }

func parsePort(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return uint32(n)
}

func labels(v *structpb.Value) map[string]string {
	out := map[string]string{}
	for k, x := range object(v) {
		out[k] = text(x)
	}
	return out
}

// texts are the entries that are strings; nil if there are none.
func texts(md map[string]*structpb.Value) map[string]string {
	var out map[string]string
	for k, v := range md {
		if s, ok := v.GetKind().(*structpb.Value_StringValue); ok {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = s.StringValue
		}
	}
	return out
}

// ports reads {"80": 8080}; nil if there are none.
func ports(v *structpb.Value) map[uint32]uint32 {
	var out map[uint32]uint32
	for k, x := range object(v) {
		from, to := parsePort(k), port(x)
		if from == 0 || to == 0 {
			continue
		}
		if out == nil {
			out = map[uint32]uint32{}
		}
		out[from] = to
	}
	return out
}

// podPorts reads the named ones of a list of container ports, or of a string that holds it as JSON; nil if there are none.
func podPorts(v *structpb.Value) map[string]uint32 {
	raw := []byte(v.GetStringValue())
	if list := v.GetListValue(); list != nil {
		var err error
		if raw, err = list.MarshalJSON(); err != nil {
			return nil
		}
	}
	var list []struct {
		Name          string `json:"name"`
		ContainerPort uint16 `json:"containerPort"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out map[string]uint32
	for _, p := range list {
		if _, ok := out[p.Name]; ok || p.Name == "" || p.ContainerPort == 0 {
			continue
		}
		if out == nil {
			out = map[string]uint32{}
		}
		out[p.Name] = uint32(p.ContainerPort)
	}
	return out
}

// object reads a structure, or a string that holds one as JSON.
func object(v *structpb.Value) map[string]*structpb.Value {
	if s := v.GetStructValue(); s != nil {
		return s.GetFields()
	}
	raw := v.GetStringValue()
	if raw == "" {
		return nil
	}
	var m map[string]any
	if json.Unmarshal([]byte(raw), &m) != nil {
		return nil
	}
	s, err := structpb.NewStruct(m)
	if err != nil {
		return nil
	}
	return s.GetFields()
}
