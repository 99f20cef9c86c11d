// Package netns makes network namespaces with names, as `ip netns` does and shows them, and does things in them. Linux only:
// elsewhere everything fails.
package netns

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where `ip netns` keeps namespaces, and what processes in them find in /etc in place of the machine's files.
const (
	folder = "/run/netns"
	etc    = "/etc/netns"
)

// Names lists the namespaces that begin with prefix, and those of which only files in /etc are left.
func Names(prefix string) ([]string, error) {
	seen := map[string]bool{}
	var out []string
	for _, dir := range []string{folder, etc} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("list network namespaces: %w", err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), prefix) && !seen[e.Name()] {
				seen[e.Name()] = true
				out = append(out, e.Name())
			}
		}
	}
	return out, nil
}

// Resolver is the content of /etc/resolv.conf in a namespace; "" if it has none of its own.
func Resolver(name string) string {
	raw, err := os.ReadFile(filepath.Join(etc, name, "resolv.conf"))
	if err != nil {
		return ""
	}
	return string(raw)
}

// SetResolver says what processes that enter the namespace from now on find in /etc/resolv.conf.
func SetResolver(name, content string) error {
	if err := os.MkdirAll(filepath.Join(etc, name), 0o755); err != nil {
		return fmt.Errorf("write resolv.conf of %s: %w", name, err)
	}
	if err := os.WriteFile(filepath.Join(etc, name, "resolv.conf"), []byte(content), 0o644); err != nil {
		return fmt.Errorf("write resolv.conf of %s: %w", name, err)
	}
	return nil
}

// removeFiles takes away what SetResolver made, and the folder of all namespaces if this was the last.
func removeFiles(name string) error {
	if err := os.RemoveAll(filepath.Join(etc, name)); err != nil {
		return fmt.Errorf("remove files of %s: %w", name, err)
	}
	_ = os.Remove(etc) // fails while others have files there: as it should
	return nil
}
