package server

import (
	"encoding/json"
	"fmt"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// dump writes what a proxy has acknowledged in the form of Envoy's own /config_dump, which `mizzen proxy-config --file` and
// istioctl read. Virtual hosts are shown inside their tables.
func (c *conn) dump() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := timestamppb.New(c.since)
	cds, lds := &adminv3.ClustersConfigDump{}, &adminv3.ListenersConfigDump{}
	rds, eds := &adminv3.RoutesConfigDump{}, &adminv3.EndpointsConfigDump{}
	for _, r := range everything(&c.state.ch[clusters].acked) {
		cds.DynamicActiveClusters = append(cds.DynamicActiveClusters,
			&adminv3.ClustersConfigDump_DynamicCluster{VersionInfo: r.Version, Cluster: r.Body, LastUpdated: at})
	}
	for _, r := range everything(&c.state.ch[listeners].acked) {
		lds.DynamicListeners = append(lds.DynamicListeners, &adminv3.ListenersConfigDump_DynamicListener{Name: r.Name,
			ActiveState: &adminv3.ListenersConfigDump_DynamicListenerState{VersionInfo: r.Version, Listener: r.Body, LastUpdated: at}})
	}
	inline, err := c.inlineTables()
	if err != nil {
		return nil, err
	}
	for _, r := range inline {
		rds.DynamicRouteConfigs = append(rds.DynamicRouteConfigs,
			&adminv3.RoutesConfigDump_DynamicRouteConfig{RouteConfig: r, LastUpdated: at})
	}
	for _, r := range everything(&c.state.ch[endpoints].acked) {
		eds.DynamicEndpointConfigs = append(eds.DynamicEndpointConfigs,
			&adminv3.EndpointsConfigDump_DynamicEndpointConfig{VersionInfo: r.Version, EndpointConfig: r.Body, LastUpdated: at})
	}
	return marshalDump(cds, eds, lds, rds)
}

// inlineTables are the acknowledged tables with their virtual hosts inside, the hosts named as Envoy names them.
func (c *conn) inlineTables() ([]*anypb.Any, error) {
	added := map[string][]*routev3.VirtualHost{}
	for _, r := range everything(&c.state.ch[hosts].acked) {
		v := &routev3.VirtualHost{}
		if err := r.Body.UnmarshalTo(v); err != nil {
			return nil, fmt.Errorf("read virtual host %s: %w", r.Name, err)
		}
		added[r.Table] = append(added[r.Table], v)
	}
	var out []*anypb.Any
	for _, r := range everything(&c.state.ch[routes].acked) {
		t := &routev3.RouteConfiguration{}
		if err := r.Body.UnmarshalTo(t); err != nil {
			return nil, fmt.Errorf("read route table %s: %w", r.Name, err)
		}
		t.VirtualHosts = append(t.VirtualHosts, added[r.Name]...)
		body, err := anypb.New(t)
		if err != nil {
			return nil, fmt.Errorf("pack route table %s: %w", r.Name, err)
		}
		out = append(out, body)
	}
	return out, nil
}

func marshalDump(parts ...proto.Message) ([]byte, error) {
	var configs []json.RawMessage
	for _, p := range parts {
		a, err := anypb.New(p)
		if err != nil {
			return nil, fmt.Errorf("pack config dump: %w", err)
		}
		raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(a)
		if err != nil {
			return nil, fmt.Errorf("write config dump: %w", err)
		}
		configs = append(configs, raw)
	}
	return json.MarshalIndent(map[string]any{"configs": configs}, "", "  ")
}
