package standalone

import (
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// configs is the folder of the examples, below it a folder for each host.
const configs = "envoy-configs"

// ingress is the port that the examples' comments name.
const ingress = 10000

// host is a folder of envoy-configs: what carries the policies there.
type host struct {
	folder string
	// make is what the comments tell to build first; "" nothing.
	make string
	// paths replaces the paths in a configuration by those of the test's own build, and names the module.
	paths func(t *testing.T, config string) (string, envoytest.Options)
	// native is Envoy without the policies.
	native bool
	// stat makes an expression for Envoy's names of a counter out of its name and its labels' values.
	stat func(metric string, labels ...string) string
}

var hosts = []host{
	{
		folder: "dynamic-module", make: "make build",
		paths: func(t *testing.T, config string) (string, envoytest.Options) {
			return config, envoytest.Options{Concurrency: 2, Module: envoytest.Module(t)}
		},
		stat: func(metric string, labels ...string) string {
			return `mizzen\.` + metric + strings.Join(append([]string{""}, labels...), `\.[a-z]+\.`) + `$`
		},
	},
	{
		folder: "wasm", make: "make wasm",
		paths: func(t *testing.T, config string) (string, envoytest.Options) {
			name := regexp.MustCompile(`build/(mizzen[a-z-]*)\.wasm`).FindStringSubmatch(config)
			if name == nil {
				t.Fatal("it loads no module of make wasm")
			}
			_, command, single := strings.Cut(name[1], "-")
			if !single {
				command = name[1]
			}
			file := wasmModule(t, name[1], command)
			return strings.ReplaceAll(config, name[0], file), envoytest.Options{Module: "-", Concurrency: 1, ReadyTimeout: 3 * time.Minute}
		},
		stat: func(metric string, labels ...string) string {
			return `wasmcustom\.mizzen_` + metric + strings.Join(append([]string{""}, labels...), `;[a-z]+=`) + `$`
		},
	},
	{
		folder: "contrib-golang", make: "make golang golanghost",
		paths: func(t *testing.T, config string) (string, envoytest.Options) {
			return config, envoytest.Options{Concurrency: 2, Module: golanghost(t)}
		},
		stat: func(metric string, labels ...string) string {
			return `golang_counter\.name\.mizzen\.` + metric + strings.Join(append([]string{""}, labels...), `\.[a-z]+\.`) + `$`
		},
	},
	{
		folder: "native", native: true,
		paths: func(_ *testing.T, config string) (string, envoytest.Options) {
			return config, envoytest.Options{Concurrency: 2, Module: "-"}
		},
	},
}

// promises are the files that every host has, with what they promise.
var promises = map[string]func(t *testing.T, r *running){
	"fault.yaml":            faultPromises,
	"canary.yaml":           canaryPromises,
	"ratelimit.yaml":        ratelimitPromises,
	"ratelimit-global.yaml": globalPromises,
	"tracing.yaml":          tracingPromises,
	"chain.yaml":            chainPromises,
}

// running is an example in an Envoy.
type running struct {
	*envoytest.Envoy
	host      host
	config    string // as it stands
	options   envoytest.Options
	collector *collector
	limits    *limits
}

// count sums a counter of the policies, with the values of its labels in order.
func (r *running) count(t *testing.T, metric string, labels ...string) int64 {
	t.Helper()
	return sum(r.Stats(t, r.host.stat(metric, labels...)))
}

// TestConfigs runs every example as it stands, but for ports and paths: first the commands of its comment, then what
// these cannot tell.
func TestConfigs(t *testing.T) {
	envoytest.Find(t)
	for _, h := range hosts {
		for name, promise := range promises {
			t.Run(h.folder+"/"+name, func(t *testing.T) {
				t.Parallel()
				r := run(t, h, name)
				replay(t, r, comment(r.config))
				promise(t, r)
			})
		}
	}
}

// TestEveryConfigIsRun holds the folder to what TestConfigs runs.
func TestEveryConfigIsRun(t *testing.T) {
	root := filepath.Join(envoytest.Root(), configs)
	var want, got []string
	for _, h := range hosts {
		want = append(want, h.folder+"/README.md")
		for name := range promises {
			want = append(want, h.folder+"/"+name)
		}
	}
	want = append(want, "README.md", "contrib-golang/contrib.sed")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, path) // path is below root
			got = append(got, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s holds\n%v\nand these are tested:\n%v", configs, got, want)
	}
}

func TestCommentsSayHowToRun(t *testing.T) {
	for _, h := range hosts {
		for name := range promises {
			text := comment(read(t, h.folder+"/"+name))
			for _, want := range []string{h.make + "\n", " -c " + configs + "/" + h.folder + "/" + name + "\n", "$ curl "} {
				if !strings.Contains(text, want) && name != "ratelimit-global.yaml" {
					t.Errorf("the comment of %s/%s does not say %q", h.folder, name, want)
				}
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(envoytest.Root(), configs, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// run starts an example. A collector and a rate-limit service stand where it expects them.
func run(t *testing.T, h host, name string) *running {
	t.Helper()
	config := read(t, h.folder+"/"+name)
	r := &running{host: h, config: config}
	if strings.Contains(config, "port_value: 9411") {
		r.collector = newCollector(t)
		config = strings.ReplaceAll(config, "port_value: 9411", "port_value: "+r.collector.port)
	}
	if strings.Contains(config, "port_value: 8081") {
		r.limits = newLimits(t, comment(config))
		_, port, err := net.SplitHostPort(r.limits.grpc)
		if err != nil {
			t.Fatal(err)
		}
		// 20 ms are for proxies in service, not for a machine that runs tests.
		config = strings.NewReplacer("port_value: 8081", "port_value: "+port, "timeout: 20ms", "timeout: 10s",
			"timeout: 0.020s", "timeout: 10s", `"timeout": "20ms"`, `"timeout": "10s"`).Replace(config)
	}
	config, options := h.paths(t, config)
	r.options = options
	r.options.Config = config
	r.Envoy = envoytest.Start(t, r.options)
	return r
}

// golanghost builds both libraries into a folder of their own, and returns the path of the module.
func golanghost(t *testing.T) string {
	t.Helper()
	so, err := buildGolanghost()
	if err != nil {
		envoytest.Missing(t, err)
	}
	return so
}

var buildGolanghost = sync.OnceValues(func() (string, error) {
	root := envoytest.Root()
	dir := filepath.Join(root, "build", "standalone")
	so := filepath.Join(dir, "libgolanghost.so")
	for _, cmd := range []*exec.Cmd{
		exec.Command(filepath.Join(root, "scripts", "golanghost"), so),
		exec.Command("go", "build", "-trimpath", "-buildmode=c-shared", "-ldflags=-s -w",
			"-o", filepath.Join(dir, "libmizzen-golang.so"), "./filters/cmd/golang"),
	} {
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", &exec.Error{Name: strings.Join(cmd.Args, " ") + "\n" + string(out), Err: err}
		}
	}
	return so, nil
})
