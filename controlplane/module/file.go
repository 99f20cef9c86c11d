package module

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// stamp tells whether a file has changed.
type stamp struct {
	size int64
	at   time.Time
}

// fileOf is the path in a URL file://, "" in any other.
func fileOf(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return u.Path
}

// readFile takes a file in as it is now.
func (s *Store) readFile(m *mesh.Module, file string) (stamp, string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}, "", fmt.Errorf("read module: %w", err)
	}
	at := stamp{info.Size(), info.ModTime()}
	if info.Size() > maxModule {
		return at, "", errTooLarge
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return at, "", fmt.Errorf("read module: %w", err)
	}
	if raw, err = checked(raw, m.SHA256); err != nil {
		return at, "", err
	}
	digest, err := s.cache.keep(m.Key, raw)
	return at, digest, err
}

// follow takes a file in again whenever it changes. What can no longer be read, or is no module any more, stays as it was.
func (s *Store) follow(ctx context.Context, m *mesh.Module, file string) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if ctx.Err() != nil { // both may be true, and the module may be wanted again, with another goroutine
			return
		}
		s.mu.Lock()
		st := s.wanted[m.Key]
		s.mu.Unlock()
		if st == nil {
			return
		}
		var now stamp
		if info, err := os.Stat(file); err == nil {
			now = stamp{info.Size(), info.ModTime()}
		}
		if now == st.seen {
			continue
		}
		seen, digest, err := s.readFile(m, file)
		st.seen = seen // of this goroutine alone, from here on
		if err != nil {
			digest = s.Digest(m.Key)
		}
		s.outcome(m, digest, err)
	}
}
