// Package dir reads configuration from files and directories, once or for as long as they change.
package dir

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// Load reads paths once: files, directories (recursively: *.yaml, *.yml, *.json; hidden entries are passed over) and "-" for
// standard input. On the same object a later path wins; within one path the first one does, with a diagnostic. The error is
// for a path that is not there or cannot be listed; a file that cannot be read is a diagnostic.
func Load(paths []string) (istio.Set, istio.Diagnostics, error) {
	s := newState(paths, os.Stdin, time.Now)
	if _, err := s.scan(func(string) {}, nil, false); err != nil {
		return istio.Set{}, nil, err
	}
	set, diags := s.snapshot()
	return set, diags, nil
}

// state is what was read of every path.
type state struct {
	paths []string
	stdin io.Reader
	now   func() time.Time
	files map[string]*file // by name
	dirs  map[string][]int // directories that were listed, with the paths that they are below, by number
	store *store
	dirty map[string]*file // files that are other ones than merged has them, with what they were then; nil: not there
	merged
}

// file is one file as it is in force: its objects, some of them perhaps kept from an earlier version. Immutable but for stamp and text.
type file struct {
	name   string
	paths  []int // that it is below, by number
	stamp  stamp
	sum    [sha256.Size]byte
	read   *istio.Decoded // what stands there
	set    istio.Set      // with what was kept
	diags  istio.Diagnostics
	loaded time.Time               // when it was read
	kept   map[istio.Ref]time.Time // when the version in force of an object was, if earlier
	text   []byte                  // until it is in the store; nil without one
}

// stamp tells cheaply whether a file may have changed.
type stamp struct {
	size int64
	time time.Time
	info os.FileInfo
}

func (s stamp) same(o stamp) bool {
	return s.info != nil && o.info != nil && s.size == o.size && s.time.Equal(o.time) && os.SameFile(s.info, o.info)
}

func newState(paths []string, in io.Reader, now func() time.Time) *state {
	clean := make([]string, len(paths)) // as events name them
	for i, p := range paths {
		clean[i] = filepath.Clean(p)
	}
	return &state{
		paths: clean, stdin: in, now: now, files: map[string]*file{}, dirs: map[string][]int{}, dirty: map[string]*file{},
		merged: newMerged(),
	}
}

// scan lists every path and reads the files that changed, or that force names. A path that has gone is an error unless
// tolerant. It reports whether anything is different.
func (s *state) scan(visit func(dir string), force map[string]bool, tolerant bool) (bool, error) {
	below := map[string][]int{}
	dirs := map[string][]int{}
	var order []string
	for i, p := range s.paths {
		names := []string{stdin}
		if p != stdin {
			var err error
			names, err = list(p, func(dir string) {
				dirs[dir] = append(dirs[dir], i)
				visit(dir)
			})
			if err != nil && !(tolerant && errors.Is(err, fs.ErrNotExist)) {
				return false, err
			}
		}
		for _, name := range names {
			if below[name] == nil {
				order = append(order, name)
			}
			below[name] = append(below[name], i)
		}
	}
	s.dirs = dirs
	for _, name := range order {
		s.refresh(name, below[name], force[name])
	}
	for name := range s.files {
		if below[name] == nil {
			s.put(name, nil)
		}
	}
	return len(s.dirty) > 0, nil
}

// touch reads single files that something happened to. False: it may have been to more than their content.
func (s *state) touch(names map[string]bool) bool {
	for name := range names {
		below := slices.Clone(s.dirs[filepath.Dir(name)])
		for i, p := range s.paths {
			if p == name {
				below = append(below, i)
			}
		}
		if len(below) == 0 || s.dirs[name] != nil || strings.HasPrefix(filepath.Base(name), "..") {
			return false
		}
		if !slices.Contains(s.paths, name) && !readable(filepath.Base(name)) {
			if info, err := os.Stat(name); err == nil && info.IsDir() && !strings.HasPrefix(filepath.Base(name), ".") {
				return false
			}
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err == nil && info.Mode().IsRegular():
			slices.Sort(below)
			s.refresh(name, slices.Compact(below), true)
		case errors.Is(err, fs.ErrNotExist):
			s.put(name, nil)
		default:
			return false
		}
	}
	return true
}

// put notes what a file is now; nil: gone.
func (s *state) put(name string, f *file) {
	old := s.files[name]
	if old == f {
		return
	}
	if _, known := s.dirty[name]; !known {
		s.dirty[name] = old
	}
	if f == nil {
		delete(s.files, name)
		return
	}
	s.files[name] = f
}

// refresh reads a file if it changed.
func (s *state) refresh(name string, below []int, force bool) {
	old := s.files[name]
	if old != nil && !slices.Equal(old.paths, below) {
		moved := *old
		moved.paths = below
		s.put(name, &moved)
		old = &moved
	}
	if name == stdin {
		if old == nil {
			text, err := io.ReadAll(s.stdin)
			s.put(name, s.accept("stdin", text, err, nil, below))
		}
		return
	}
	st := stampOf(name)
	if old != nil && !force && st.same(old.stamp) {
		return
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		s.put(name, nil)
		return
	}
	sum := sha256.Sum256(text)
	if old != nil && err == nil && old.sum == sum {
		old.stamp = st
		return
	}
	next := s.accept(name, text, err, old, below)
	if s.store != nil && old == nil && next.broken() {
		if before := s.recall(name, below); before != nil {
			next = s.accept(name, text, err, before, below)
		}
	}
	if s.store != nil && err == nil {
		next.text = text
	}
	next.stamp, next.sum = st, sum
	s.put(name, next)
}

func stampOf(name string) stamp {
	info, err := os.Stat(name)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime(), info}
}

func unreadable(name string, err error) istio.Diagnostic {
	return istio.Diagnostic{Code: istio.CodeRead, Severity: istio.Error, Position: istio.Position{File: name}, Message: fmt.Sprintf("cannot be read: %v", err)}
}

// accept makes a file of what was read, if it could be. Objects of the old version that are now missing because of an Error stay.
func (s *state) accept(name string, text []byte, err error, old *file, below []int) *file {
	f := &file{name: name, paths: below, loaded: s.now()}
	var before *istio.Decoded
	if old != nil {
		before = old.read
	}
	if err != nil {
		f.read = &istio.Decoded{Diagnostics: istio.Diagnostics{unreadable(name, err)}}
	} else {
		f.read = istio.DecodeAgain(name, string(text), before)
	}
	f.set, f.diags = f.read.Set, slices.Clip(f.read.Diagnostics)
	if old == nil || !f.broken() {
		return f
	}
	have := map[istio.Ref]bool{}
	for _, m := range f.set.Metas() {
		have[m.Ref] = true
	}
	f.kept = map[istio.Ref]time.Time{}
	kept := old.set.Only(func(m *istio.Meta) bool {
		if have[m.Ref] {
			return false
		}
		why, broken := blame(f.read.Diagnostics, m.Ref)
		if broken {
			when, ok := old.kept[m.Ref]
			if !ok {
				when = old.loaded
			}
			f.kept[m.Ref] = when
			f.diags = append(f.diags, istio.Diagnostic{
				Code: istio.CodeKept, Severity: istio.Warning, Object: m.Ref, Position: why.Position,
				Message: fmt.Sprintf("kept as of %s: the previous version stays in force", when.Format(time.RFC3339)),
			})
		}
		return broken
	})
	f.set, _ = istio.Concat(f.set, kept) // disjoint; Merge would act on deletions too early
	return f
}

// blame finds the Error for which an object may be missing: one that names it; one that names no object (then the object may
// stand in the part that could not be read); or one that could not make out the kind of an object of that name.
func blame(diags istio.Diagnostics, ref istio.Ref) (istio.Diagnostic, bool) {
	for _, d := range diags {
		if d.Severity != istio.Error {
			continue
		}
		unclear := d.Object.Name == ref.Name && (d.Code == istio.CodeUnknownKind || d.Code == istio.CodeNoKind)
		if d.Object == ref || d.Object.Name == "" || unclear {
			return d, true
		}
	}
	return istio.Diagnostic{}, false
}
