// Package settings brings an installation's injection policy to the injector: from files, or live from a cluster.
package settings

import (
	"fmt"
	"os"

	"github.com/mizzen-mesh/mizzen/injector/inject"
)

// Texts are what a policy is made of. Any may be empty: Istio's and the chart's defaults.
type Texts struct {
	Config, Values []byte // the two keys of ConfigMap istio-sidecar-injector
	Mesh           []byte // key mesh of ConfigMap istio
}

// Files name them; "" is an empty text.
type Files struct{ Config, Values, Mesh string }

// Read reads files.
func (f Files) Read() (Texts, error) {
	var t Texts
	for _, x := range []struct {
		name string
		into *[]byte
	}{{f.Config, &t.Config}, {f.Values, &t.Values}, {f.Mesh, &t.Mesh}} {
		if x.name == "" {
			continue
		}
		text, err := os.ReadFile(x.name)
		if err != nil {
			return Texts{}, fmt.Errorf("read injection settings: %w", err)
		}
		*x.into = text
	}
	return t, nil
}

// Policy makes one. A revision, if it is given, wins over that of the values.
func (t Texts) Policy(revision string) (*inject.Policy, error) {
	p, err := inject.New(t.Config, t.Values)
	if err != nil {
		return nil, err
	}
	mesh, err := inject.ParseMesh(t.Mesh)
	if err != nil {
		return nil, err
	}
	if revision != "" && revision != "default" {
		p.Values.Revision = revision
	}
	return p.With(mesh, nil, false), nil
}
