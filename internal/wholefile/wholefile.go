// Package wholefile replaces files in one step: whoever looks finds the old one or the new one, whole.
package wholefile

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Write gives a file of that name and mode the content of from. Until then that is in a file whose name begins with a dot and ends with no
// extension, which no reader of a directory takes for configuration.
func Write(name string, mode fs.FileMode, from io.Reader) error {
	return write(name, mode, from, func(*os.File) error { return nil })
}

// write does; settle is done to the file when all is in it, and before it has its name.
func write(name string, mode fs.FileMode, from io.Reader, settle func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	if _, err = io.Copy(f, from); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = settle(f)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Content gives a file of that name and mode the content.
func Content(name string, mode fs.FileMode, content []byte) error {
	return Write(name, mode, bytes.NewReader(content))
}

// Secret gives a file of that name the content; nobody but its owner may read it.
func Secret(name string, content []byte) error {
	return Content(name, 0o600, content)
}

// Lasting is Secret for what cannot be had again, such as an authority's key: it is on the disk before it has its name, so that a machine
// that loses its power has the old one or the new one, too.
func Lasting(name string, content []byte) error {
	return write(name, 0o600, bytes.NewReader(content), (*os.File).Sync)
}
