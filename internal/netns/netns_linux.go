package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Create makes a namespace whose loopback interface is down. There must be none of that name.
func Create(name string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is in the namespace by then, ends with the goroutine
		h, err := netns.NewNamed(name)
		if err == nil {
			err = h.Close()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		return fmt.Errorf("make network namespace %s: %w", name, err)
	}
	return nil
}

// Delete removes the namespace's name and its files. What is in it goes when its last process and socket have. A namespace that is
// not there is no error.
func Delete(name string) error {
	var err error
	if _, e := os.Stat(filepath.Join(folder, name)); e == nil {
		if err = netns.DeleteNamed(name); errors.Is(err, unix.EINVAL) { // a file that nothing is mounted on
			err = os.Remove(filepath.Join(folder, name))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove network namespace %s: %w", name, err)
	}
	return removeFiles(name)
}

// Do runs f on a thread in the namespace. A socket stays in the namespace that it was made in, and a process that f starts stays there,
// too. f sees the machine's own /etc.
func Do(name string, f func() error) error { return DoAt(filepath.Join(folder, name), f) }

// DoAt is Do with the namespace's file.
func DoAt(file string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		back, err := netns.Get()
		if err == nil {
			defer back.Close()
			err = set(file)
		}
		if err == nil {
			err = f()
		}
		if netns.Set(back) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with the goroutine
		done <- err
	}()
	return <-done
}

func set(file string) error {
	h, err := netns.GetFromPath(file)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", file, err)
	}
	defer h.Close()
	if err := netns.Set(h); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", file, err)
	}
	return nil
}

// Enter moves the calling thread into the namespace, as `ip netns exec` does, with the namespace's own files in /etc. The goroutine
// must be locked to the thread, and never be unlocked: there is no way back.
func Enter(name string) error {
	if err := set(filepath.Join(folder, name)); err != nil {
		return err
	}
	files, err := os.ReadDir(filepath.Join(etc, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list files of network namespace %s: %w", name, err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("keep mounts apart: %w", err)
	}
	for _, f := range files {
		from, to := filepath.Join(etc, name, f.Name()), filepath.Join("/etc", f.Name())
		if err := unix.Mount(from, to, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("put %s in place: %w", to, err)
		}
	}
	return nil
}
