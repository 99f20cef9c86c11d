package dir

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

// maxDepth bounds the directories below a path, so that a symbolic link to a parent ends.
const maxDepth = 32

// stdin is the path that stands for standard input.
const stdin = "-"

// readable says whether a directory's entry of this name is read: YAML and JSON, but no hidden file, which is what editors
// leave beside the one being written.
func readable(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// list returns the files of one path in a fixed order: a path of a file names that file whatever its extension. visit is
// called with every directory before it is read. A path that is not there is an error; what vanishes meanwhile is not.
func list(path string, visit func(dir string)) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	return walk(path, visit, 0), nil
}

func walk(dir string, visit func(string), depth int) []string {
	visit(dir)
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil || depth > maxDepth {
		return nil
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path) // through symbolic links: a mounted ConfigMap is made of them
		switch {
		case err != nil || strings.HasPrefix(e.Name(), "."):
		case info.IsDir():
			files = append(files, walk(path, visit, depth+1)...)
		case readable(e.Name()) && info.Mode().IsRegular():
			files = append(files, path)
		}
	}
	return files
}

// Sources reads the text of every file of paths, each once, in the order in which Load reads them. in is what "-" names.
func Sources(paths []string, in io.Reader) ([]istio.Source, error) {
	var out []istio.Source
	seen := map[string]bool{}
	for _, p := range paths {
		names := []string{stdin}
		if p != stdin {
			var err error
			if names, err = list(filepath.Clean(p), func(string) {}); err != nil {
				return nil, err
			}
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			text, err := readSource(name, in)
			if err != nil {
				return nil, fmt.Errorf("read configuration: %w", err)
			}
			if name == stdin {
				name = "stdin"
			}
			out = append(out, istio.Source{Name: name, Text: string(text)})
		}
	}
	return out, nil
}

func readSource(name string, in io.Reader) ([]byte, error) {
	if name == stdin {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}
