package cni

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// folder is a node's, of CNI configurations.
type folder struct {
	path string
	kind string // the plugin's type
	log  *slog.Logger
}

// aside is what a configuration of one plugin is called while a list stands in for it. No runtime reads it.
const aside = ".before-mizzen"

// active is the file that container runtimes read: the first by name that is a configuration; "" if there is none.
func (f folder) active() (name string, content []byte, err error) {
	entries, err := os.ReadDir(f.path)
	if err != nil {
		return "", nil, fmt.Errorf("list CNI configurations: %w", err)
	}
	for _, e := range entries { // sorted
		ext := filepath.Ext(e.Name())
		if e.IsDir() || !slices.Contains([]string{".conf", ".conflist", ".json"}, ext) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(f.path, e.Name()))
		if err == nil && ext == ".conflist" {
			_, err = members(content)
		} else if err == nil {
			_, err = listOf(content)
		}
		if err != nil {
			f.log.Warn("passed over", "file", e.Name(), "error", err)
			continue
		}
		return e.Name(), content, nil
	}
	return "", nil, nil
}

// put sees to it that the active configuration has the entry, and no other; changed tells whether it had to be written. Without any
// configuration the name is "".
func (f folder) put(entry []byte) (name string, changed bool, err error) {
	name, content, err := f.active()
	if err != nil || name == "" {
		return "", false, err
	}
	list, single := content, ""
	if filepath.Ext(name) != ".conflist" {
		if list, err = listOf(content); err != nil {
			return "", false, fmt.Errorf("%s: %w", name, err)
		}
		single, name = name, strings.TrimSuffix(name, filepath.Ext(name))+".conflist"
	}
	want, err := chain(list, f.kind, entry)
	if err != nil {
		return "", false, fmt.Errorf("%s: %w", name, err)
	}
	if changed = single != "" || !bytes.Equal(want, content); changed {
		if err := f.write(name, want); err != nil {
			return "", false, err
		}
	}
	if single != "" { // it would come before the list
		if err := os.Rename(filepath.Join(f.path, single), filepath.Join(f.path, single+aside)); err != nil {
			return "", false, fmt.Errorf("put %s aside: %w", single, err)
		}
	}
	return name, changed, f.remove(name)
}

// has tells whether the active configuration has an entry of the plugin.
func (f folder) has() (name string, yes bool, err error) {
	name, content, err := f.active()
	if err != nil || name == "" || filepath.Ext(name) != ".conflist" {
		return name, false, err
	}
	all, err := members(content)
	return name, slices.ContainsFunc(all, func(m member) bool { return m.kind == f.kind }), err
}

// remove takes the entry out of every configuration but one, "" for all, and puts back what it stood in for.
func (f folder) remove(but string) error {
	lists, err := filepath.Glob(filepath.Join(f.path, "*.conflist"))
	if err != nil {
		return fmt.Errorf("list CNI configurations: %w", err)
	}
	var failed []error
	for _, file := range lists {
		if filepath.Base(file) != but {
			failed = append(failed, f.restore(file))
		}
	}
	return errors.Join(failed...)
}

func (f folder) restore(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read CNI configuration: %w", err)
	}
	without, others, err := unchain(content, f.kind)
	if err != nil || bytes.Equal(without, content) { // no list, or without an entry of ours
		return nil
	}
	for _, ext := range []string{".conf", ".json"} {
		before := strings.TrimSuffix(file, ".conflist") + ext
		if _, err := os.Stat(before + aside); err != nil || others != 1 {
			continue
		}
		put := func() error { return os.Rename(before+aside, before) }
		if _, err := os.Stat(before); err == nil { // somebody has written it anew
			put = func() error { return os.Remove(before + aside) }
		}
		if err := errors.Join(put(), os.Remove(file)); err != nil {
			return fmt.Errorf("put %s back: %w", before, err)
		}
		return nil
	}
	return f.write(filepath.Base(file), without)
}

// write replaces a file, whose mode stays.
func (f folder) write(name string, content []byte) error {
	path := filepath.Join(f.path, name)
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	return wholefile.Content(path, mode, content)
}
