package localmesh

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
	"github.com/mizzen-mesh/mizzen/localmesh/overlay"
)

// source is the user's files when --namespace is not "default": the control plane reads a copy of them, in which every
// object names its namespace, and what it says of an object is told with the place in the user's own file.
type source struct {
	read istio.Set
	told istio.Diagnostics // of reading; the copy gives none
}

// copyFiles writes the copy and keeps it up with the files until ctx ends. It returns the copy's folder.
func (m *mesh) copyFiles(ctx context.Context) (folder string, err error) {
	folder = filepath.Join(m.dir.Path, "files")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", err
	}
	first := make(chan error, 1)
	done := make(chan struct{})
	files := m.files
	go func() {
		defer close(done)
		err := dir.Watch(ctx, files, m.o.Log, func(set istio.Set, diags istio.Diagnostics) {
			err := m.copySet(folder, set, diags)
			select {
			case first <- err:
			default:
			}
		})
		select {
		case first <- err:
		default:
		}
	}()
	m.copying = done
	return folder, <-first
}

func (m *mesh) copySet(folder string, set istio.Set, diags istio.Diagnostics) error {
	set = overlay.WithNamespace(set.Written(), m.o.Namespace)
	items := []json.RawMessage{}
	for _, o := range set.Metas() {
		raw, err := overlay.Explicit(o)
		if err != nil {
			return err
		}
		items = append(items, raw)
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		return fmt.Errorf("copy manifests: %w", err)
	}
	m.source.Store(&source{read: set, told: diags})
	return wholefile.Content(filepath.Join(folder, "all.json"), 0o644, raw)
}

// original puts diagnostics where the user wrote what they are about.
func (m *mesh) original(diags istio.Diagnostics) istio.Diagnostics {
	s := m.source.Load()
	if s == nil {
		return diags
	}
	places := map[istio.Ref]*istio.Meta{}
	for _, o := range s.read.Metas() {
		places[o.Ref] = o
	}
	out := append(istio.Diagnostics{}, s.told...)
	for _, d := range diags {
		if o := places[d.Object]; o != nil && filepath.Dir(d.Position.File) == filepath.Join(m.dir.Path, "files") {
			d.Position = o.At(d.Path)
		}
		out = append(out, d)
	}
	return out
}
