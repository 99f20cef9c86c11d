package xdsgen

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/nds"
)

// TypeNames is the type of the table of names, which agents ask for, not Envoys.
const TypeNames = nds.TypeURL

// external is the registry of hosts of ServiceEntries, as Istio calls it.
const external = "External"

// NameTable makes the one resource of the names that a proxy may know.
func NameTable(names []*mesh.Name) *Resource {
	t := nds.Table{}
	for _, n := range names {
		e := nds.Entry{Addresses: n.Addresses, Registry: external, ShortName: n.ShortName, Namespace: n.Namespace}
		if n.ShortName != "" {
			e.Registry = nds.Kubernetes
		}
		t[n.Host] = e
	}
	body := &anypb.Any{TypeUrl: TypeNames, Value: t.Encode()}
	sum := sha256.Sum256(body.Value)
	return &Resource{Type: body.TypeUrl, Name: nds.ResourceName, Version: hex.EncodeToString(sum[:8]), Body: body}
}
