package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// In a cluster, what a proxy is beyond its name is taken from its Pod, or its WorkloadEntry: labels, service account and place. What the
// proxy says of them itself would let whoever has one pod of a namespace take the configuration of another.

// workloadOf finds a proxy's workload by its name and its address; nil if the World has none such.
func workloadOf(w *mesh.World, n mesh.Node) *mesh.Workload {
	if w == nil {
		return nil
	}
	at, _ := slices.BinarySearchFunc(w.Workloads, n, func(x *mesh.Workload, n mesh.Node) int {
		return cmp.Or(cmp.Compare(x.Namespace, n.Namespace), cmp.Compare(x.Name, n.Name))
	})
	for _, x := range w.Workloads[at:] {
		if x.Namespace != n.Namespace || x.Name != n.Name {
			return nil
		}
		if n.IP == "" || x.Address == n.IP {
			return x
		}
	}
	return nil
}

// asKnown is a proxy as its workload has it; as it was when it came, if that is gone by now.
func asKnown(w *mesh.World, n mesh.Node) mesh.Node {
	if x := workloadOf(w, n); x != nil {
		n.Labels, n.ServiceAccount, n.Locality = x.Labels, x.ServiceAccount, cmp.Or(x.Locality, n.Locality)
	}
	return n
}

// knownWithin is how long a proxy that comes is waited for to be known: its Pod has an address before the API server's watchers hear of
// it.
const knownWithin = 5 * time.Second

// known waits until the World has a proxy's workload, and gives the proxy as that has it.
func (p *publisher) known(ctx context.Context, n mesh.Node) (mesh.Node, error) {
	limit := time.NewTimer(knownWithin)
	defer limit.Stop()
	for {
		p.mu.Lock()
		w, next := p.world, p.next
		p.mu.Unlock()
		if workloadOf(w, n) != nil {
			return asKnown(w, n), nil
		}
		select {
		case <-next:
		case <-limit.C:
			return n, fmt.Errorf("the cluster has no pod %s/%s with address %s", n.Namespace, n.Name, n.IP)
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
}

// admitKnown lets proxies of the cluster in: with an identity, it has to be that of the proxy's workload; without one, which the
// plaintext listener asks for none, a proxy is no gateway, for gateways are given Secrets.
func (p *publisher) admitKnown(i *identity) func(context.Context, mesh.Node) (mesh.Node, error) {
	return func(ctx context.Context, n mesh.Node) (mesh.Node, error) {
		id, proven, err := i.caller(ctx)
		switch {
		case err != nil:
			return n, err
		case !proven && n.Gateway:
			return n, errors.New("a gateway has to prove its identity: it connects with TLS")
		}
		n.ServiceAccount = ""
		if proven {
			if err := i.fits(id, n); err != nil {
				return n, err
			}
		}
		if n, err = p.known(ctx, n); err == nil && proven {
			err = i.fits(id, n)
		}
		return n, err
	}
}
