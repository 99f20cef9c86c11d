package compose

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// goCache serves command gocache: what this machine's Go has compiled, which is only read, and what containers have, in a directory
// of its own, in the same form.
type goCache struct {
	machine string // GOCACHE
	own     string
}

func newGoCache(machine string) goCache {
	return goCache{machine: machine, own: filepath.Join(envoytest.Root(), ".cache", "compose", "gocache")}
}

// Both directories are as cmd/go's: xx/ID-a says "v1 ACTION OUTPUT SIZE TIME", and yy/OUTPUT-d is the output.
func entry(dir, id, kind string) string { return filepath.Join(dir, id[:2], id+kind) }

func (g goCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if raw, err := hex.DecodeString(action); err != nil || len(raw) != 32 {
		http.Error(w, "no action", http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPut {
		if err := g.put(action, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		return
	}
	for _, dir := range []string{g.own, g.machine} {
		raw, err := os.ReadFile(entry(dir, action, "-a"))
		words := strings.Fields(string(raw))
		if err != nil || len(words) != 5 {
			continue
		}
		body, err := os.ReadFile(entry(dir, words[2], "-d"))
		if err != nil || strconv.Itoa(len(body)) != words[3] {
			continue
		}
		output, _ := hex.DecodeString(words[2])
		w.Header().Set("Output", base64.StdEncoding.EncodeToString(output))
		w.Header().Set("Time", words[4])
		_, _ = w.Write(body)
		return
	}
	http.NotFound(w, r)
}

func (g goCache) put(action string, r *http.Request) error {
	raw, err := base64.StdEncoding.DecodeString(r.Header.Get("Output"))
	if err != nil || len(raw) != 32 {
		return fmt.Errorf("read output: %w", err)
	}
	output := hex.EncodeToString(raw)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("v1 %s %s %20d %20d\n", action, output, len(body), 0)
	for file, content := range map[string][]byte{entry(g.own, output, "-d"): body, entry(g.own, action, "-a"): []byte(line)} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
