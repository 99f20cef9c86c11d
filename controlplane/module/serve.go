package module

import (
	"net/http"
	"strings"
)

// Handler serves modules by their content: /SHA256.wasm. What it serves under a name never changes.
func (s *Store) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		digest, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".wasm")
		if !ok || !validDigest(digest) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/wasm")
		http.ServeFile(w, r, s.cache.file(digest))
	})
}
