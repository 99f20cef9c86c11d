package dir

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// store keeps, over restarts, the texts that what is in force was read from: an entry for each file of configuration, replaced as a
// whole. Where nothing is kept of an earlier version that is the file's last text alone; while an edit breaks an object, the text that it
// was last good in stands before it. A nil store keeps nothing.
type store struct {
	dir string
	log *slog.Logger
}

// version is one text of a file, and when it was read.
type version struct {
	Loaded time.Time `json:"loaded"`
	Text   string    `json:"text"`
}

// entry is what is kept of one file: its versions, the oldest first. To read them one after another gives what was in force.
type entry struct {
	File     string    `json:"file"` // absolute
	Versions []version `json:"versions"`
}

// An entry's file begins with a line that names its form, then the SHA-256 of the rest.
const entryForm = "mizzen-last-good-1 "

// Bounds of one entry: what goes beyond is not kept over a restart.
const (
	maxVersions = 16
	maxEntry    = 64 << 20 // bytes
)

// openStore makes the directory; configuration may hold Secrets, so it is the user's alone. "": nil.
func openStore(dir string, log *slog.Logger) (*store, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of the last good state: %w", err)
	}
	return &store{dir, log}, nil
}

// path of the entry of a file.
func (s *store) path(name string) (entry, absolute string) {
	absolute, err := filepath.Abs(name)
	if err != nil {
		absolute = name
	}
	sum := sha256.Sum256([]byte(absolute))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:16])+".json"), absolute
}

// load reads what is kept of a file; nil if that is nothing. What cannot be used is told, and is no more than a loss.
func (s *store) load(name string) []version {
	path, absolute := s.path(name)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var e entry
	if err == nil {
		e, err = parseEntry(raw)
	}
	if err == nil && e.File != absolute {
		err = fmt.Errorf("is of %s", e.File)
	}
	if err != nil {
		s.log.Warn("cannot use what was kept of a file: should it be broken now, nothing older stands in for it", "file", name, "kept", path, "error", err)
		return nil
	}
	return e.Versions
}

func parseEntry(raw []byte) (e entry, err error) {
	head, body, ok := bytes.Cut(raw, []byte("\n"))
	sum, known := strings.CutPrefix(string(head), entryForm)
	if !ok || !known {
		return e, errors.New("has another form")
	}
	if want := sha256.Sum256(body); sum != hex.EncodeToString(want[:]) {
		return e, errors.New("is damaged: its checksum differs")
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("read: %w", err)
	}
	return e, nil
}

// save replaces an entry at once.
func (s *store) save(name string, versions []version) {
	path, absolute := s.path(name)
	if err := writeEntry(path, entry{absolute, versions}); err != nil {
		s.log.Warn("cannot keep the last good state of a file", "file", name, "error", err)
	}
}

func writeEntry(path string, e entry) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(body) > maxEntry {
		return fmt.Errorf("it is larger than %d MiB", maxEntry>>20)
	}
	sum := sha256.Sum256(body)
	return wholefile.Secret(path, append([]byte(entryForm+hex.EncodeToString(sum[:])+"\n"), body...))
}

// keep brings the store in line with files that changed, after they are in force.
func (s *store) keep(files map[string]*file) {
	if s == nil {
		return
	}
	for name, f := range files {
		if name == stdin {
			continue
		}
		if f == nil {
			path, _ := s.path(name)
			_ = os.Remove(path)
			continue
		}
		if f.text == nil {
			continue
		}
		before := s.load(name)
		now := append(f.needed(before), version{f.loaded.Round(0), string(f.text)})
		f.text = nil
		if len(before) != 1 || len(now) != 1 || before[0].Text != now[0].Text {
			s.save(name, now)
		}
	}
}

// needed are the versions that some object in force is kept from; the newest, if there are too many.
func (f *file) needed(before []version) []version {
	var out []version
	for _, v := range before {
		for _, when := range f.kept {
			if when.Equal(v.Loaded) {
				out = append(out, v)
				break
			}
		}
	}
	return out[max(0, len(out)-maxVersions+1):]
}

// sweep removes the entries of files that are not there any more.
func (s *store) sweep(files map[string]*file) {
	if s == nil {
		return
	}
	live := map[string]bool{}
	for name := range files {
		path, _ := s.path(name)
		live[path] = true
	}
	entries, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return
	}
	for _, path := range entries {
		if !live[path] {
			_ = os.Remove(path)
		}
	}
}

// recall makes a file as it was in force when an earlier process ended; nil if nothing is known of it.
func (s *state) recall(name string, below []int) *file {
	var f *file
	for _, v := range s.store.load(name) {
		f = s.accept(name, []byte(v.Text), nil, f, below)
		f.loaded = v.Loaded
	}
	return f
}

// broken tells that something in a file was left out.
func (f *file) broken() bool { return len(f.diags.Errors()) > 0 }
