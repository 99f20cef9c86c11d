package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// lockFile is held with flock by the mesh that owns the directory: a pid may be another process's by now, a lock may not.
const lockFile = "lock"

// Root is where this user's state directories are: $XDG_RUNTIME_DIR/mizzen, else mizzen-<uid> in the temporary folder.
func Root() string {
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		if fi, err := os.Stat(d); err == nil && fi.IsDir() {
			return filepath.Join(d, "mizzen")
		}
	}
	return filepath.Join(os.TempDir(), "mizzen-"+strconv.Itoa(os.Getuid()))
}

// Dir is a state directory that this process owns.
type Dir struct {
	Path string
	lock *os.File
	root string
}

// Create makes root/<pid> and locks it. Directories that dead meshes left in root are removed.
func Create(root string) (*Dir, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	if _, err := live(root); err != nil {
		return nil, err
	}
	// Lock it before it has its name: whoever looks for dead meshes must never find it unlocked.
	d := &Dir{Path: filepath.Join(root, strconv.Itoa(os.Getpid())), root: root}
	fresh := filepath.Join(root, ".new-"+strconv.Itoa(os.Getpid()))
	err := d.make(fresh)
	if err == nil {
		err = os.Rename(fresh, d.Path)
	}
	if err != nil {
		_ = os.RemoveAll(fresh)
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	return d, nil
}

func (d *Dir) make(path string) error {
	for _, p := range []string{path, PodsDir(path), AppliedDir(path)} {
		if err := os.Mkdir(p, 0o700); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	d.lock = f
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// Remove deletes the directory with all that is in it, and root if it is then empty. Call it more than once if you like.
func (d *Dir) Remove() error {
	err := os.RemoveAll(d.Path)
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
	_ = os.Remove(d.root) // fails while other meshes run: as it should
	if err != nil {
		return fmt.Errorf("remove state directory: %w", err)
	}
	return nil
}

// live lists the directories in root whose mesh runs, and removes the others.
func live(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list meshes: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		dir := filepath.Join(root, e.Name())
		f, err := os.Open(filepath.Join(dir, lockFile))
		if err != nil {
			continue // removed in this moment by its owner
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil {
			out = append(out, dir)
		} else {
			_ = os.RemoveAll(dir)
		}
		f.Close()
	}
	return out, nil
}

// LockOverlay keeps other commands from changing the applied objects of the mesh in dir until unlock is called.
func LockOverlay(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "overlay.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock applied objects: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock applied objects: %w", err)
	}
	return func() { f.Close() }, nil
}
