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
	order [][]string       // files of each path
	files map[string]*file // by name
}

// file is one file as it is in force: its objects, some of them perhaps kept from an earlier version.
type file struct {
	stamp  stamp
	sum    [sha256.Size]byte
	set    istio.Set
	diags  istio.Diagnostics
	loaded map[istio.Ref]time.Time // when the version in force of each object was read
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
	return &state{paths: clean, stdin: in, now: now, files: map[string]*file{}}
}

// scan lists every path and reads the files that changed, or that force names. A path that has gone is an error unless
// tolerant. It reports whether anything is different.
func (s *state) scan(visit func(dir string), force map[string]bool, tolerant bool) (bool, error) {
	changed := false
	order := make([][]string, len(s.paths))
	seen := map[string]bool{}
	for i, p := range s.paths {
		names := []string{stdin}
		if p != stdin {
			var err error
			names, err = list(p, visit)
			if err != nil && !(tolerant && errors.Is(err, fs.ErrNotExist)) {
				return changed, err
			}
		}
		order[i] = names
		for _, name := range names {
			if !seen[name] {
				seen[name] = true
				changed = s.read(name, force[name]) || changed
			}
		}
	}
	for name := range s.files {
		if !seen[name] {
			delete(s.files, name)
			changed = true
		}
	}
	s.order = order
	return changed, nil
}

// read reads one file if it changed, and says whether its content did.
func (s *state) read(name string, force bool) bool {
	old := s.files[name]
	if name == stdin {
		if old != nil {
			return false
		}
		s.files[name] = s.decode("stdin", s.stdin, nil)
		return true
	}
	st := stampOf(name)
	if old != nil && !force && st.same(old.stamp) {
		return false
	}
	in, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		delete(s.files, name)
		return old != nil
	}
	if err != nil {
		s.files[name] = s.accept(name, istio.Set{}, istio.Diagnostics{unreadable(name, err)}, old)
		return true
	}
	defer in.Close()
	sum := sha256.New()
	next := s.decode(name, io.TeeReader(in, sum), old)
	next.stamp = st
	sum.Sum(next.sum[:0])
	if old != nil && old.sum == next.sum {
		old.stamp = st
		return false
	}
	s.files[name] = next
	return true
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

func (s *state) decode(name string, r io.Reader, old *file) *file {
	set, diags := istio.Decode(name, r)
	return s.accept(name, set, diags, old)
}

// accept makes a file of what was decoded. Objects of the old version that are now missing because of an Error stay.
func (s *state) accept(name string, set istio.Set, diags istio.Diagnostics, old *file) *file {
	now := s.now()
	f := &file{set: set, diags: diags, loaded: map[istio.Ref]time.Time{}}
	have := map[istio.Ref]bool{}
	for _, m := range set.Metas() {
		have[m.Ref] = true
		f.loaded[m.Ref] = now
	}
	if old == nil {
		return f
	}
	kept := old.set.Only(func(m *istio.Meta) bool {
		if have[m.Ref] {
			return false
		}
		why, broken := blame(diags, m.Ref)
		if broken {
			when := old.loaded[m.Ref]
			f.loaded[m.Ref] = when
			f.diags = append(f.diags, istio.Diagnostic{
				Code: istio.CodeKept, Severity: istio.Warning, Object: m.Ref, Position: why.Position,
				Message: fmt.Sprintf("kept as of %s: the previous version stays in force", when.Format(time.RFC3339)),
			})
		}
		return broken
	})
	f.set, _ = istio.Concat(set, kept) // disjoint; Merge would act on deletions too early
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

// snapshot merges what is in force.
func (s *state) snapshot() (istio.Set, istio.Diagnostics) {
	var diags istio.Diagnostics
	var layers []istio.Set
	seen := map[string]bool{}
	for _, names := range s.order {
		var sets []istio.Set
		for _, name := range names {
			f := s.files[name]
			if f == nil {
				continue
			}
			sets = append(sets, f.set)
			if !seen[name] {
				seen[name] = true
				diags = append(diags, f.diags...)
			}
		}
		layer, twice := istio.Concat(sets...)
		layers = append(layers, layer)
		diags = append(diags, twice...)
	}
	set, more := istio.Merge(layers...)
	diags = append(diags, more...)
	diags.Sort()
	return set, diags
}
