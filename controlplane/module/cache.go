package module

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// cache is a directory of modules, SHA256.wasm, and of what they were fetched by. The zero directory holds nothing until the first
// comes.
type cache struct {
	dir string

	mu    sync.Mutex
	index map[string]string // key to digest
}

const indexFile = "index.json"

// maxIndex bounds what is remembered of modules that nobody wants any more.
const maxIndex = 256

// openCache reads what is there. What cannot be read is fetched again; modules that nothing leads to are removed.
func openCache(dir string) (*cache, error) {
	c := &cache{dir: dir, index: map[string]string{}}
	raw, err := os.ReadFile(filepath.Join(dir, indexFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, fmt.Errorf("read modules: %w", err)
	}
	if json.Unmarshal(raw, &c.index) != nil {
		c.index = map[string]string{}
	}
	used := map[string]bool{}
	for key, digest := range c.index {
		if !validDigest(digest) || !exists(c.file(digest)) {
			delete(c.index, key)
		}
		used[digest] = true
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read modules: %w", err)
	}
	for _, f := range files {
		if digest, ok := strings.CutSuffix(f.Name(), ".wasm"); ok && !used[digest] {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
	return c, nil
}

func (c *cache) file(digest string) string { return filepath.Join(c.dir, digest+".wasm") }

// find is what was fetched by a key, "" nothing.
func (c *cache) find(key string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	digest := c.index[key]
	if digest == "" || !exists(c.file(digest)) {
		return ""
	}
	return digest
}

// keep takes a module in and returns its digest.
func (c *cache) keep(key string, raw []byte) (string, error) {
	digest := sum(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", fmt.Errorf("keep module: %w", err)
	}
	if !exists(c.file(digest)) {
		if err := wholefile.Content(c.file(digest), 0o644, raw); err != nil {
			return "", fmt.Errorf("keep module: %w", err)
		}
	}
	if c.index[key] == digest {
		return digest, nil
	}
	if len(c.index) >= maxIndex {
		clear(c.index)
	}
	c.index[key] = digest
	index, err := json.MarshalIndent(c.index, "", "  ")
	if err == nil {
		err = wholefile.Content(filepath.Join(c.dir, indexFile), 0o644, index)
	}
	if err != nil {
		return "", fmt.Errorf("keep module: %w", err)
	}
	return digest, nil
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func sum(raw []byte) string {
	s := sha256.Sum256(raw)
	return hex.EncodeToString(s[:])
}

func validDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}
