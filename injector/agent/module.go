package agent

import (
	"context"
	"os"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

func there(file string) bool { _, err := os.Stat(file); return err == nil }

// module of Mizzen's in a folder.
type module struct {
	host mesh.FilterHost // what it makes of MIZZEN_FILTERS
	file string
	key  string // of the metadata that tells the control plane where it is, "" if it need not know
}

// modules that there may be; one is preferred to those after it.
func modules(p Paths) []module {
	return []module{{mesh.HostModule, p.module(), ""}, {mesh.HostWasm, p.wasm(), "MIZZEN_WASM"}, {mesh.HostGolang, p.golang(), "MIZZEN_GOLANG"}}
}

// found is what runs the policies, as the directory of modules says: Envoy's own filters if there is none.
func found(p Paths) mesh.FilterHost {
	for _, m := range modules(p) {
		if there(m.file) {
			return m.host
		}
	}
	return mesh.HostNative
}

// A module that takes another's place is taken once it has been there for so many looks: who replaces one may need several steps
// (docker compose puts libmizzen.so there first, whatever the profile).
const (
	lookEvery   = time.Second
	looksSteady = 10
)

// replaced waits until another module than the one that the proxy was started with has been there for looksSteady ticks, and says which; false if
// ctx is done before, or at once if the metadata says what runs the policies. That there is none any more changes nothing: the proxy has its own in memory.
func (s *settings) replaced(ctx context.Context, p Paths, look <-chan time.Time) (by mesh.FilterHost, ok bool) {
	if s.module == "" {
		return "", false
	}
	for steady := 0; steady < looksSteady; {
		select {
		case <-ctx.Done():
			return "", false
		case <-look:
		}
		switch now := found(p); now {
		case s.module, mesh.HostNative:
			by, steady = "", 0
		case by:
			steady++
		default:
			by, steady = now, 1
		}
	}
	return by, true
}
