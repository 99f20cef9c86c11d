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

// Write gives a file of that name and mode the content of from.
func Write(name string, mode fs.FileMode, from io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer os.Remove(f.Name())
	if _, err = io.Copy(f, from); err == nil {
		err = f.Chmod(mode)
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

// Secret gives a file of that name the content; nobody but its owner may read it.
func Secret(name string, content []byte) error {
	return Write(name, 0o600, bytes.NewReader(content))
}
