package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// A change is taken once nothing has happened for quiet, or latest after its first event: an editor writes in several steps,
// and a tool that writes all the time must not hold the rest back.
const (
	quiet  = 20 * time.Millisecond
	latest = 200 * time.Millisecond
)

// again is how often everything is listed and looked at without an event: file systems may lose some.
const again = 5 * time.Minute

// Watch reads paths as Load does, calls fn with the result, and then again after every change of content, one call at a time.
// An object that a change breaks stays as it was, with a diagnostic; an object whose file or document is deleted goes. Watch
// returns nil when ctx is done; an error means that it could not start. A path may vanish and come back while it runs.
func Watch(ctx context.Context, paths []string, log *slog.Logger, fn func(istio.Set, istio.Diagnostics)) error {
	return WatchKept(ctx, paths, "", log, fn)
}

// WatchKept is Watch that keeps the last good state of each object in a directory, which it makes, over restarts: an object that is
// broken when it starts, and was good when an earlier WatchKept of the same paths and directory last read it, is as it was then. "": as
// Watch. What the directory holds may be lost or damaged, with a warning. It may hold Secrets, as the paths do.
func WatchKept(ctx context.Context, paths []string, kept string, log *slog.Logger, fn func(istio.Set, istio.Diagnostics)) error {
	store, err := openStore(kept, log)
	if err != nil {
		return err
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch configuration: %w", err)
	}
	defer notify.Close()
	w := &watcher{state: newState(paths, os.Stdin, time.Now), notify: notify, log: log, watched: map[string]bool{}, fn: fn}
	w.state.store = store
	w.parents()
	if _, err := w.state.scan(w.visit, nil, false); err != nil {
		return err
	}
	w.take()
	store.sweep(w.state.files)
	return w.run(ctx)
}

type watcher struct {
	state   *state
	notify  *fsnotify.Watcher
	log     *slog.Logger
	watched map[string]bool // directories below a path
	fn      func(istio.Set, istio.Diagnostics)
}

// parents watches the directory of every path, which sees the path itself be replaced.
func (w *watcher) parents() {
	for _, p := range w.state.paths {
		if p != stdin {
			w.add(filepath.Dir(p))
		}
	}
}

// visit watches a directory of the tree. Adding one twice is free; one that was deleted and made anew needs it.
func (w *watcher) visit(dir string) {
	w.watched[dir] = true
	w.add(dir)
}

func (w *watcher) add(dir string) {
	if err := w.notify.Add(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		w.log.Warn("cannot watch a directory: changes in it will not be seen", "directory", dir, "error", err)
	}
}

// run waits for events, gathers those of one change, and applies them.
func (w *watcher) run(ctx context.Context) error {
	var settle, deadline <-chan time.Time
	pending := map[string]bool{}
	whole := false
	rescan := time.NewTicker(again)
	defer rescan.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-rescan.C:
			whole = true
			settle = time.After(quiet)
			continue
		case e, ok := <-w.notify.Events:
			if !ok {
				return nil
			}
			if e.Op == fsnotify.Chmod && readable(filepath.Base(e.Name)) || !w.concerns(e.Name) {
				continue
			}
			pending[e.Name] = true
			settle = time.After(quiet)
			if deadline == nil {
				deadline = time.After(latest)
			}
			continue
		case err, ok := <-w.notify.Errors:
			if !ok {
				return nil
			}
			w.log.Warn("lost file events, reading everything again", "error", err)
			for name := range w.state.files {
				pending[name] = true
			}
			whole = true
			settle = time.After(quiet)
			continue
		case <-settle:
		case <-deadline:
		}
		w.apply(pending, whole)
		pending, settle, deadline, whole = map[string]bool{}, nil, nil, false
	}
}

// concerns says whether an event can change what we read. The watch on a path's parent reports its neighbours too.
func (w *watcher) concerns(name string) bool {
	if w.watched[filepath.Dir(name)] || w.watched[name] {
		return true
	}
	for _, p := range w.state.paths {
		if name == p {
			return true
		}
		// A mounted ConfigMap swaps the link "..data" beside its files.
		if filepath.Dir(name) == filepath.Dir(p) && strings.HasPrefix(filepath.Base(name), "..") {
			return true
		}
	}
	return false
}

// apply reads what something happened to: single files, or if it was more than that, all that may have changed.
func (w *watcher) apply(pending map[string]bool, whole bool) {
	if whole || !w.state.touch(pending) {
		if _, err := w.state.scan(w.visit, pending, true); err != nil {
			w.log.Warn("cannot read the configuration, the last one stays", "error", err)
			return
		}
	}
	if len(w.state.dirty) > 0 {
		w.take()
	}
}

// take hands on what is in force, and then keeps it.
func (w *watcher) take() {
	changed := map[string]*file{}
	for name := range w.state.dirty {
		changed[name] = w.state.files[name]
	}
	w.fn(w.state.snapshot())
	w.state.store.keep(changed)
}
