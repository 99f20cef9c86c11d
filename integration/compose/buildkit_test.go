package compose

import (
	"os"
	"os/exec"
	"testing"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// The Dockerfile is for BuildKit, too: the engine's own, which the client of Debian's package uses without a plugin.
func TestBuildKit(t *testing.T) {
	need(t)
	const docker = "/usr/bin/docker" // another one on PATH may want buildx
	if _, err := os.Stat(docker); err != nil {
		envoytest.Missing(t, err)
	}
	e := startEngine(t)
	serveBuilds(t, e)
	makeBases(t, e)
	for _, target := range []string{"module", "proxy"} {
		cmd := exec.Command(docker, "build", "--target", target, "--tag", "buildkit/"+target, "--progress", "plain",
			"--build-arg", "GOPROXY="+modulesURL, "--build-arg", "http_proxy="+proxyURL, ".")
		cmd.Dir = envoytest.Root()
		cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=1", "DOCKER_HOST=unix://"+e.socket(), "DOCKER_CONFIG="+e.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("docker build --target %s: %v\n%s", target, err, lastLines(string(out), 30))
		}
		if !e.has(t, "buildkit/"+target, "") {
			t.Errorf("BuildKit made no image of %s", target)
		}
	}
}
