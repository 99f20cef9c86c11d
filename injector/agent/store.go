package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// store holds the configuration that Envoy accepted last, by type and name, in memory and in files. Safe for concurrent use.
type store struct {
	dir string // "" or one that cannot be written: in memory only
	log *slog.Logger

	mu    sync.Mutex
	types map[string]map[string]*discoveryv3.Resource
	dirty map[string]bool
}

// writeEvery bounds how often files are written: endpoints may change many times a second.
const writeEvery = 5 * time.Second

// openStore reads what an earlier container of the pod has left.
func openStore(dir string, log *slog.Logger) *store {
	s := &store{dir: dir, log: log, types: map[string]map[string]*discoveryv3.Resource{}, dirty: map[string]bool{}}
	files, err := filepath.Glob(filepath.Join(dir, "xds-*.pb"))
	if err != nil {
		return s
	}
	for _, f := range files {
		if err := s.load(f); err != nil {
			log.Warn("a part of the last configuration is not used", "error", err)
		}
	}
	return s
}

func (s *store) load(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read last configuration: %w", err)
	}
	var m discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("read last configuration %s: %w", file, err)
	}
	of := map[string]*discoveryv3.Resource{}
	for _, r := range m.GetResources() {
		of[r.GetName()] = r
	}
	s.types[m.GetTypeUrl()] = of
	return nil
}

// file of a type.
func (s *store) file(typeURL string) string {
	sum := sha256.Sum256([]byte(typeURL))
	return filepath.Join(s.dir, "xds-"+hex.EncodeToString(sum[:6])+".pb")
}

// accepted takes over an answer that Envoy has accepted. anew: what was held of its type was of an Envoy that is no more.
func (s *store) accepted(m *discoveryv3.DeltaDiscoveryResponse, anew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.types[m.GetTypeUrl()]
	if of == nil || anew {
		of = map[string]*discoveryv3.Resource{}
		s.types[m.GetTypeUrl()] = of
	}
	for _, r := range m.GetResources() {
		of[r.GetName()] = r
	}
	for _, name := range m.GetRemovedResources() {
		delete(of, name)
	}
	s.dirty[m.GetTypeUrl()] = true
}

// forget drops names that Envoy does not want any more.
func (s *store) forget(typeURL string, names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		if _, ok := s.types[typeURL][name]; ok {
			delete(s.types[typeURL], name)
			s.dirty[typeURL] = true
		}
	}
}

// empty tells whether there is nothing to serve.
func (s *store) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.types) == 0
}

// find are the resources of a type, by name; all: every one. Those in has with the version that they are of are left out. gone are names in has that
// are no more, if all are asked for.
func (s *store) find(typeURL string, all bool, names []string, has map[string]string) (found []*discoveryv3.Resource, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.types[typeURL]
	if all {
		names = slices.Sorted(maps.Keys(of))
		for name := range has {
			if of[name] == nil {
				gone = append(gone, name)
			}
		}
		slices.Sort(gone)
	}
	for _, name := range names {
		if r := of[name]; r != nil && (has[name] == "" || has[name] != r.GetVersion()) {
			found = append(found, r)
		}
	}
	return found, gone
}

// keep writes what has changed to files, until stop is closed, and then once more.
func (s *store) keep(stop <-chan struct{}) {
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.write()
		case <-stop:
			s.write()
			return
		}
	}
}

func (s *store) write() {
	var failed []error
	for _, m := range s.changed() {
		raw, err := proto.Marshal(m)
		if err == nil {
			err = wholefile.Secret(s.file(m.GetTypeUrl()), raw)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if err := errors.Join(failed...); err != nil {
		s.log.Warn("the configuration will not outlive a restart of the container", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// changed are the types that files do not have as they are.
func (s *store) changed() []*discoveryv3.DeltaDiscoveryResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*discoveryv3.DeltaDiscoveryResponse
	for _, t := range slices.Sorted(maps.Keys(s.dirty)) {
		m := &discoveryv3.DeltaDiscoveryResponse{TypeUrl: t}
		for _, name := range slices.Sorted(maps.Keys(s.types[t])) {
			m.Resources = append(m.Resources, s.types[t][name])
		}
		out = append(out, m)
	}
	clear(s.dirty)
	return out
}
