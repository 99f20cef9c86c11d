package compose

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// The public images that Dockerfile and docker-compose.yaml name.
const (
	debianImage = "debian:bookworm-slim"
	golangImage = "golang:1.26-bookworm"
	envoyImage  = "envoyproxy/envoy:v1.39.3"
	redisImage  = "redis:7"
)

// makeBases gives the engine stand-ins for the public images, under their names. What it has already it keeps.
func makeBases(t *testing.T, e *engine) {
	t.Helper()
	if !e.has(t, debianImage, "") {
		importDebian(t, e)
	}
	e.build(t, golangImage, "golang", runtime.Version(), map[string]string{".": goEnv(t, "GOROOT"), "bin/gocache": buildGoCache(t)})
	e.build(t, envoyImage, "envoy", "", envoyFile(t))
	e.build(t, redisImage, "redis", "", nil)
}

// envoyFile is what the stand-ins of Envoy's images are made with.
func envoyFile(t *testing.T) map[string]string { return map[string]string{"envoy": envoytest.Find(t)} }

// goEnv is a setting of this machine's Go.
func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// buildGoCache builds the program that gives containers this machine's build cache.
func buildGoCache(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "gocache")
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, "./gocache")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build gocache: %v\n%s", err, text)
	}
	return out
}

// has tells whether the engine has an image with this label (any, if it is "").
func (e *engine) has(t *testing.T, image, label string) bool {
	t.Helper()
	got, ok := e.label(t, image)
	return ok && (label == "" || got == label)
}

// label of a stand-in, or of the one that an image is made from; false if there is no such image.
func (e *engine) label(t *testing.T, image string) (string, bool) {
	t.Helper()
	var found struct {
		Config struct{ Labels map[string]string }
	}
	err := e.do(t.Context(), "GET", "/images/"+image+"/json", nil, &found)
	return found.Config.Labels["stand-in"], err == nil
}

// importDebian makes a Debian and gives it to the engine.
func importDebian(t *testing.T, e *engine) {
	t.Helper()
	begin := time.Now()
	dir := filepath.Join(e.dir, "debian")
	out, err := exec.Command("debootstrap", "--variant=minbase", "bookworm", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, lastLines(string(out), 10))
	}
	tarred := exec.Command("tar", "-C", dir, "--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*", "--exclude=./dev/*", "-c", ".")
	stream, err := tarred.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tarred.Start(); err != nil {
		t.Fatal(err)
	}
	name, tag, _ := strings.Cut(debianImage, ":")
	err = e.do(t.Context(), "POST", "/images/create?fromSrc=-&changes="+url.QueryEscape(`CMD ["bash"]`)+"&repo="+name+"&tag="+tag, stream, nil)
	if e := tarred.Wait(); err == nil {
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: made in %s", debianImage, time.Since(begin).Round(time.Second))
}

// build builds a stand-in from testdata/bases/NAME/Dockerfile, with files and folders besides, by their names there, unless the engine
// has the same already.
func (e *engine) build(t *testing.T, image, name, version string, with map[string]string) {
	t.Helper()
	begin := time.Now()
	dockerfile := filepath.Join("testdata", "bases", name, "Dockerfile")
	raw, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(append(raw, version...))
	label := hex.EncodeToString(sum[:8])
	if e.has(t, image, label) {
		return
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeContext(w, dockerfile, with)) }()
	q := url.Values{"t": {image}, "labels": {fmt.Sprintf(`{"stand-in":%q}`, label)}, "buildargs": {fmt.Sprintf(`{"http_proxy":%q}`, proxyURL)}}
	if err := e.do(t.Context(), "POST", "/build?"+q.Encode(), r, nil); err != nil {
		t.Fatalf("build the stand-in of %s: %v", image, err)
	}
	t.Logf("%s: made in %s", image, time.Since(begin).Round(time.Second))
}

// writeContext writes what a build is sent: its Dockerfile, and the files and folders that with names.
func writeContext(w io.Writer, dockerfile string, with map[string]string) error {
	tw := tar.NewWriter(w)
	if err := addFile(tw, dockerfile, "Dockerfile"); err != nil {
		return err
	}
	for as, from := range with {
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			name, _ := filepath.Rel(from, path)
			switch {
			case err != nil:
				return err
			case d.IsDir() && slices.Contains(needless, name):
				return fs.SkipDir
			case !d.Type().IsRegular():
				return nil
			}
			return addFile(tw, path, filepath.Join(as, name))
		})
		if err != nil {
			return err
		}
	}
	return tw.Close()
}

// needless are folders of a Go installation that compile nothing.
var needless = []string{"test", "doc", "api", "misc"}

func addFile(tw *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	head := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size(), Typeflag: tar.TypeReg}
	if err := tw.WriteHeader(head); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}
