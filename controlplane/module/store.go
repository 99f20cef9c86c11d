// Package module fetches the WebAssembly modules of plugins, once for all proxies: from files, over HTTP, from registries of
// images. What was fetched is verified, kept on disk by its content, and served to the proxies.
package module

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// Options of Open.
type Options struct {
	// Dir keeps the modules; it is made when the first one comes.
	Dir string
	// Insecure are registries, host[:port], that are asked in plaintext; those on this machine are anyway.
	Insecure []string
	// Transport makes the requests; nil is http.DefaultTransport.
	Transport http.RoundTripper
	// Changed is told that something is there, or is wrong, which was not before. Not called by Want. Not nil.
	Changed func()
	// Log gets what happens; nil discards it.
	Log *slog.Logger
}

const (
	// maxModule is the largest module that is taken, bytes, as Istio has it.
	maxModule = 256 << 20
	// fetchTimeout bounds one try.
	fetchTimeout = 2 * time.Minute
	// The pause after a try that failed, at first and at most; each is twice the one before.
	firstPause = time.Second
	maxPause   = time.Minute
	// look is how often files are looked at.
	look = time.Second
)

// Store is what was fetched, and what is being. Safe for concurrent use.
type Store struct {
	opt   Options
	cache *cache
	ctx   context.Context // of the fetches
	stop  context.CancelFunc
	wg    sync.WaitGroup

	mu     sync.Mutex
	wanted map[string]*state
}

// state is one module that is wanted.
type state struct {
	module *mesh.Module
	digest string // "": not there
	err    error  // of the last try; nil while there was none
	stop   context.CancelFunc
	seen   stamp // of a file
}

// Open takes up what an earlier Store left in the directory.
func Open(o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	c, err := openCache(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{opt: o, cache: c, wanted: map[string]*state{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Close ends every fetch.
func (s *Store) Close() {
	s.stop()
	s.wg.Wait()
}

// Want says which modules there are to be. Files, and what was fetched before, are there when it returns; the others come.
func (s *Store) Want(modules []*mesh.Module) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := make(map[string]bool, len(modules))
	for _, m := range modules {
		now[m.Key] = true
		if st := s.wanted[m.Key]; st != nil {
			st.module = m
			continue
		}
		s.wanted[m.Key] = s.begin(m)
	}
	for key, st := range s.wanted {
		if !now[key] {
			st.stop()
			delete(s.wanted, key)
		}
	}
}

// begin starts what it takes to have a module. s.mu is held.
func (s *Store) begin(m *mesh.Module) *state {
	ctx, cancel := context.WithCancel(s.ctx)
	st := &state{module: m, stop: cancel}
	if file := fileOf(m.URL); file != "" {
		st.seen, st.digest, st.err = s.readFile(m, file)
		s.wg.Go(func() { s.follow(ctx, m, file) })
		return st
	}
	if st.digest = s.cache.find(m.Key); st.digest != "" {
		return st
	}
	s.wg.Go(func() { s.persist(ctx, m) })
	return st
}

// persist tries until the module is there.
func (s *Store) persist(ctx context.Context, m *mesh.Module) {
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		digest, err := s.try(ctx, m)
		if ctx.Err() != nil {
			return
		}
		if s.outcome(m, digest, err); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// try fetches a module once.
func (s *Store) try(ctx context.Context, m *mesh.Module) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	f := &fetcher{client: http.Client{Transport: s.opt.Transport}, insecure: s.opt.Insecure}
	raw, err := f.fetch(ctx, m)
	if err != nil {
		return "", err
	}
	return s.cache.keep(m.Key, raw)
}

// outcome takes down how a try ended, and tells if that is news.
func (s *Store) outcome(m *mesh.Module, digest string, err error) {
	s.mu.Lock()
	st := s.wanted[m.Key]
	if st == nil {
		s.mu.Unlock()
		return
	}
	news := st.digest != digest || !same(st.err, err)
	st.digest, st.err = digest, err
	s.mu.Unlock()
	if !news {
		return
	}
	if err != nil {
		s.opt.Log.Warn("a module is not there", "url", m.URL, "error", err)
	} else {
		s.opt.Log.Info("a module is there", "url", m.URL, "sha256", digest)
	}
	s.opt.Changed()
}

func same(a, b error) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
}

// Digest is the SHA-256 of a module that is there, by its key, hex; "" it is not.
func (s *Store) Digest(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.wanted[key]; st != nil {
		return st.digest
	}
	return ""
}

// Err says why a module is not there, or not the newest; nil if nothing is wrong, or nothing known yet.
func (s *Store) Err(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.wanted[key]; st != nil {
		return st.err
	}
	return nil
}

// verify is an error unless one of the sums is the wanted one.
func verify(want string, sums ...string) error {
	if want == "" {
		return nil
	}
	for _, s := range sums {
		if s == want {
			return nil
		}
	}
	return fmt.Errorf("its SHA-256 is %s, not %s", sums[0], want)
}

var errTooLarge = errors.New("larger than 256 MiB")
