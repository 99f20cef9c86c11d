package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
)

// shop is the example shop as docker-compose.yaml runs it, over a copy of its YAML that a test may edit.
type shop struct {
	*engine
	dir    string   // what ./examples/shop is
	mesh   string   // what ./examples/compose is
	file   string   // docker-compose.yaml
	count  int      // of proxies
	env    []string // more variables for docker compose
	bin    string   // docker compose
	client *meshtest.Client
	pages  *meshtest.Client // the control plane's
	edited []string         // files that restore takes away
}

// need skips the test unless this machine can run a Docker engine, and `make test-compose` has said where docker compose is.
func need(t *testing.T) (compose string) {
	t.Helper()
	compose = os.Getenv("MIZZEN_COMPOSE")
	if compose == "" {
		t.Skip("needs a Docker engine: run make test-compose")
	}
	if os.Geteuid() != 0 {
		envoytest.Missing(t, errors.New("a Docker engine needs root"))
	}
	for _, tool := range []string{compose, "dockerd", "containerd", "runc", "unshare", "ip", "iptables", "debootstrap", "tar"} {
		if _, err := exec.LookPath(tool); err != nil {
			envoytest.Missing(t, fmt.Errorf("a Docker engine for tests needs %s: %w", tool, err))
		}
	}
	envoytest.Find(t)
	return compose
}

// run runs docker compose and returns what it printed.
func (s *shop) run(t testing.TB, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.bin, append([]string{"--file", s.file, "--project-directory", envoytest.Root()}, args...)...)
	cmd.Dir = envoytest.Root()
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+s.socket(), "DOCKER_CONFIG="+s.engine.dir, "DOCKER_BUILDKIT=0",
		"COMPOSE_PARALLEL_LIMIT=1", "COMPOSE_ANSI=never", "MIZZEN_CONFIG="+s.dir, "MIZZEN_MESH="+s.mesh, "GOPROXY="+modulesURL, "GOFLAGS=-p=2")
	cmd.Env = append(cmd.Env, s.env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("docker compose %s: %v\n%s", strings.Join(args, " "), err, lastLines(string(out), 60))
	}
	return string(out)
}

// images builds every image, one after the other: the first one compiles, the others take its layers.
func (s *shop) images(t *testing.T) {
	t.Helper()
	for _, service := range []string{"controlplane", "gateway", "module", "storefront-v1"} {
		s.image(t, service)
	}
	t.Logf("sizes in MB: controlplane %d, app %d, module %d, proxy %d, of which its base %d", s.size(t, "mizzen/controlplane"), s.size(t, "mizzen/app"),
		s.size(t, "mizzen/module"), s.size(t, "mizzen/proxy"), s.size(t, envoyImage))
}

// image builds the image of a service.
func (s *shop) image(t *testing.T, service string) {
	t.Helper()
	begin := time.Now()
	s.run(t, "build", "--build-arg", "http_proxy="+proxyURL, service)
	t.Logf("image of %s: built in %s", service, time.Since(begin).Round(time.Second))
}

// copyConfig gives the shop YAML of its own.
func (s *shop) copyConfig(t *testing.T) {
	t.Helper()
	examples := filepath.Join(envoytest.Root(), "examples")
	s.dir, s.mesh = filepath.Join(s.engine.dir, "shop"), filepath.Join(s.engine.dir, "mesh")
	for to, from := range map[string]string{s.dir: "shop", s.mesh: "compose"} {
		if err := os.CopyFS(to, os.DirFS(filepath.Join(examples, from))); err != nil {
			t.Fatal(err)
		}
	}
	s.file, s.count = filepath.Join(envoytest.Root(), "docker-compose.yaml"), proxies
}

// container is the id of a service's container.
func (s *shop) container(t testing.TB, service string) string {
	t.Helper()
	var list []struct{ ID string }
	filter := fmt.Sprintf(`{"label":["com.docker.compose.service=%s"]}`, service)
	if err := s.do(context.Background(), "GET", "/containers/json?all=1&filters="+filter, nil, &list); err != nil || len(list) != 1 {
		t.Fatalf("containers of service %s: %v %v", service, list, err)
	}
	return list[0].ID
}

// startedAt is when a service's container was started last.
func (s *shop) startedAt(t testing.TB, service string) string {
	t.Helper()
	var found struct{ State struct{ StartedAt string } }
	if err := s.do(context.Background(), "GET", "/containers/"+s.container(t, service)+"/json", nil, &found); err != nil {
		t.Fatal(err)
	}
	return found.State.StartedAt
}

// size of an image, in megabytes.
func (s *shop) size(t testing.TB, image string) int {
	t.Helper()
	var found struct{ Size int64 }
	if err := s.do(context.Background(), "GET", "/images/"+image+"/json", nil, &found); err != nil {
		t.Fatal(err)
	}
	return int(found.Size / 1e6)
}

// up starts what docker-compose.yaml says, and waits until all of it is healthy.
func (s *shop) up(t testing.TB, args ...string) {
	t.Helper()
	s.run(t, append(append([]string{}, args...), "up", "-d", "--wait", "--no-build", "--remove-orphans")...)
}

// connect makes the clients, which come from beside the engine: from where its ports are localhost's.
func (s *shop) connect(t *testing.T) {
	over := &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64}
	t.Cleanup(over.CloseIdleConnections)
	s.client, s.pages = meshtest.NewClient(over, "http://localhost:8080"), meshtest.NewClient(over, "http://localhost:15014")
}

// proxies is how many there are: six sidecars and the gateway.
const proxies = 7

// generation is the newest that a proxy was made a configuration of; synced tells that all proxies have acknowledged it.
func (s *shop) generation(t testing.TB) (generation int, synced bool) {
	t.Helper()
	a, err := s.pages.Get("/debug/syncz")
	var list []struct {
		Synced     bool
		Generation int
	}
	if err != nil || json.Unmarshal([]byte(a.Body), &list) != nil {
		return 0, false // it is starting
	}
	synced = len(list) == s.count
	for _, p := range list {
		generation = max(generation, p.Generation)
		synced = synced && p.Synced
	}
	for _, p := range list {
		synced = synced && p.Generation == generation
	}
	return generation, synced
}

// changing does what changes the watched files, and waits until every proxy has acknowledged what comes of it.
func (s *shop) changing(t testing.TB, change func()) {
	t.Helper()
	before, _ := s.generation(t)
	change()
	envoytest.Await(t, time.Minute, "every proxy acknowledges the edit", func() bool {
		now, synced := s.generation(t)
		return synced && now > before
	})
}

// edit writes a file where the control plane watches.
func (s *shop) edit(t *testing.T, name, yaml string) {
	t.Helper()
	s.changing(t, func() { meshtest.Replace(t, filepath.Join(s.dir, name), yaml) })
	if !slices.Contains(s.edited, name) {
		s.edited = append(s.edited, name)
	}
}

// original is a file of examples/shop; "" if there is none of this name.
func (s *shop) original(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(envoytest.Root(), "examples", "shop", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(raw)
}

// restore undoes what edit did.
func (s *shop) restore(t *testing.T) {
	t.Helper()
	for _, name := range s.edited {
		s.changing(t, func() {
			if was := s.original(t, name); was != "" {
				meshtest.Replace(t, filepath.Join(s.dir, name), was)
			} else {
				_ = os.Remove(filepath.Join(s.dir, name))
			}
		})
	}
	s.edited = nil
}

// logs are what a service's container has written.
func (s *shop) logs(t testing.TB, service string) string {
	t.Helper()
	return s.run(t, "logs", "--no-log-prefix", service)
}

// exec runs a program in a service's container.
func (s *shop) exec(t testing.TB, service string, command ...string) string {
	t.Helper()
	return s.run(t, append([]string{"exec", "-T", service}, command...)...)
}

// kill ends a service's container as a crash would.
func (s *shop) kill(t testing.TB, service string) {
	t.Helper()
	if err := s.do(context.Background(), "POST", "/containers/"+s.container(t, service)+"/kill", nil, nil); err != nil {
		t.Fatal(err)
	}
}
