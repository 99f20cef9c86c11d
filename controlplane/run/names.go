package run

import (
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// Names makes the table of names for one proxy's agent: the Names of server.Options. Proxies that see the same share it.
func (f *Fleet) Names(w *mesh.World, n mesh.Node) *xdsgen.Resource {
	f.follow(w)
	n = f.known(w, n)
	f.mu.RLock()
	defer f.mu.RUnlock()
	key, names := f.tracker.Names(n)
	f.maps.Lock()
	defer f.maps.Unlock()
	if f.named != f.serial {
		f.named, f.names = f.serial, map[string]*xdsgen.Resource{}
	}
	r := f.names[key]
	if r == nil {
		r = xdsgen.NameTable(names())
		f.names[key] = r
	}
	return r
}
