package xdsgen

import "github.com/mizzen-mesh/mizzen/controlplane/mesh"

// Parts makes resources one by one for proxies that are alike, by the same means and from the same memory as Build.
type Parts struct {
	*Builder
	// Node is one of the proxies: only what is the same for all of them is looked at. Settings are the mesh's.
	Node     mesh.Node
	Settings mesh.Settings
	// Have finds the clusters that the proxies have, nil if there is none of a name.
	Have func(name string) *mesh.Cluster
}

// Cluster makes a cluster.
func (p Parts) Cluster(c *mesh.Cluster) (*Resource, error) { return p.cluster(c, p.Node, p.Settings) }

// Secrets makes those that stand for the files of a cluster's TLS.
func (p Parts) Secrets(c *mesh.Cluster) ([]*Resource, error) { return clusterSecrets(c) }

// Endpoints makes a group of endpoints; nil if its cluster does not use them.
func (p Parts) Endpoints(g *mesh.EndpointGroup) (*Resource, error) {
	if c := p.Have(g.Cluster); c == nil || !usesEDS(c) {
		return nil, nil
	}
	return p.endpointsOf(g)
}

// VirtualHost makes one that travels alone. Of its table everything but the hosts is looked at.
func (p Parts) VirtualHost(t *mesh.RouteTable, h *mesh.VirtualHost) (*Resource, error) {
	r, err := p.host(h, newScope(tableInput{t, newTableContext(p.Node, p.Settings)}))
	if err != nil {
		return nil, err
	}
	return existing(r, p.Have), nil
}

// Own makes what is one proxy's alone, for the incremental protocol. Its view names clusters that Have knows.
func (p Parts) Own(v *mesh.View) (*Resources, error) { return p.buildWith(v, false, p.Have) }
