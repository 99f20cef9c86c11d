package compose

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/injector/agent"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// composeFile is what the test reads of docker-compose.yaml.
type composeFile struct {
	Services map[string]struct {
		Image       string
		NetworkMode string `json:"network_mode"`
		Networks    any
		Environment map[string]string
		Labels      map[string]string
		Profiles    []string
		PullPolicy  string `json:"pull_policy"`
		Volumes     []any
		Command     any
		Build       struct {
			Target string
			Args   []string
		}
		DependsOn map[string]struct {
			Condition string
			Required  *bool
		} `json:"depends_on"`
	}
}

func readCompose(t *testing.T) (file composeFile) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(envoytest.Root(), "docker-compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// address that a service has on the mesh's network, and its other names there.
func address(networks any) (ip string, names []string) {
	of, _ := networks.(map[string]any)
	at, _ := of["mesh"].(map[string]any)
	ip, _ = at["ipv4_address"].(string)
	list, _ := at["aliases"].([]any)
	for _, n := range list {
		name, _ := n.(string)
		names = append(names, name)
	}
	return ip, names
}

// What runs is said three times, and alike: by the shop's Deployments, by docker-compose.yaml, and by the Pods of examples/compose.
func TestFilesAgree(t *testing.T) {
	root := envoytest.Root()
	file := readCompose(t)
	shop, _, err := dir.Load([]string{filepath.Join(root, "examples", "shop")})
	if err != nil {
		t.Fatal(err)
	}
	running, found, err := dir.Load([]string{filepath.Join(root, "examples", "compose")})
	if err != nil || len(found) > 0 {
		t.Fatal(err, found)
	}
	pods := map[string]*corev1.Pod{}
	for _, p := range running.Pods {
		pods[p.Name] = p.Spec
	}
	if len(shop.Workloads)+1 != len(pods) { // and the gateway
		t.Errorf("%d Deployments, %d Pods", len(shop.Workloads), len(pods))
	}
	for _, d := range shop.Workloads {
		template := d.Spec.Template
		pod, app, proxy := pods[d.Name], file.Services[d.Name], file.Services[d.Name+"-proxy"]
		if pod == nil {
			t.Errorf("Deployment %s has no Pod", d.Name)
			continue
		}
		labels := maps.Clone(pod.Labels)
		delete(labels, mesh.LabelTLSMode)
		var said map[string]string
		if err := json.Unmarshal([]byte(proxy.Environment["ISTIO_METAJSON_LABELS"]), &said); err != nil {
			t.Errorf("%s-proxy: labels: %v", d.Name, err)
		}
		if !maps.Equal(labels, template.Labels) || !maps.Equal(said, template.Labels) {
			t.Errorf("%s has labels %v as a Deployment, %v as a Pod, and its sidecar says %v", d.Name, template.Labels, labels, said)
		}
		ip, names := address(app.Networks)
		if ip != pod.Status.PodIP {
			t.Errorf("%s has address %s, and %s as a Pod", d.Name, ip, pod.Status.PodIP)
		}
		if service := template.Labels["app"]; !slices.Contains(names, service) || !slices.Contains(names, service+".default.svc.cluster.local") {
			t.Errorf("%s is not found as %s: %v", d.Name, service, names)
		}
		if app.Environment["MIZZEN_CALLS"] != template.Annotations["mizzen.dev/calls"] || app.Environment["MIZZEN_VERSION"] != template.Labels["version"] {
			t.Errorf("%s: environment %v for %v, %v", d.Name, app.Environment, template.Annotations, template.Labels)
		}
		for _, beside := range []string{d.Name + "-init", d.Name + "-proxy"} {
			if got := file.Services[beside].NetworkMode; got != "service:"+d.Name {
				t.Errorf("%s has network %q, want that of %s", beside, got, d.Name)
			}
		}
		if proxy.Environment["POD_NAME"] != d.Name {
			t.Errorf("%s-proxy says that it is %s", d.Name, proxy.Environment["POD_NAME"])
		}
	}
	gateway := file.Services["gateway"]
	if ip, _ := address(gateway.Networks); ip != pods[gateway.Environment["POD_NAME"]].Status.PodIP {
		t.Errorf("the gateway has address %s", ip)
	}
}

// No image is named with a host, and every base is a stand-in's: what the tests run is what is written.
func TestBases(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(envoytest.Root(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{golangImage, envoyImage} {
		if !strings.Contains(string(raw), "="+image+"\n") {
			t.Errorf("the Dockerfile does not name %s", image)
		}
	}
}

// What is missing is built, and not looked for where images of that name may be somebody else's.
func TestPulled(t *testing.T) {
	for name, s := range readCompose(t).Services {
		if ours := strings.HasPrefix(s.Image, "mizzen/"); ours != (s.PullPolicy == "never") {
			t.Errorf("%s: image %s has pull_policy %q", name, s.Image, s.PullPolicy)
		}
	}
}

// Each profile puts its own module of the policies where proxies look, and alone; they wait for it.
func TestProfiles(t *testing.T) {
	file := readCompose(t)
	dockerfile, err := os.ReadFile(filepath.Join(envoytest.Root(), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for profile, want := range map[string]struct{ target, module string }{
		"wasm":    {"wasm", agent.WasmModule},
		"contrib": {"golang", agent.GolangLibrary},
	} {
		s := file.Services[profile]
		words, _ := s.Command.([]any)
		if !slices.Equal(s.Profiles, []string{profile}) || s.Build.Target != want.target ||
			!slices.Contains(words, any("--from=/mizzen/"+want.module)) || !slices.Contains(words, any("--alone")) {
			t.Errorf("profile %s: %+v", profile, s)
		}
		if s.DependsOn["module"].Condition == "" {
			t.Errorf("profile %s does not wait until the dynamic module is copied, which it takes away", profile)
		}
		if !strings.Contains(string(dockerfile), " AS "+want.target+"\n") {
			t.Errorf("the Dockerfile has no target %s", want.target)
		}
		for name, p := range file.Services {
			if d := p.DependsOn[profile]; strings.HasPrefix(p.Image, "mizzen/proxy") && !strings.HasSuffix(name, "-init") && (d.Required == nil || *d.Required || d.Condition != "service_completed_successfully") {
				t.Errorf("%s does not wait for %s, if it is there: %+v", name, profile, d)
			}
		}
	}
}

// MIZZEN_ENVOY names the tag of Envoy's image that all proxies are made from: the stock one's unless it is said.
func TestContribEnvoy(t *testing.T) {
	file := readCompose(t)
	name, tag, _ := strings.Cut(envoyImage, ":")
	if want := "ENVOY_IMAGE=" + name + ":${MIZZEN_ENVOY:-" + tag + "}"; !slices.Contains(file.Services["gateway"].Build.Args, want) {
		t.Errorf("the gateway is built with %v, want %s among them", file.Services["gateway"].Build.Args, want)
	}
	for name, s := range file.Services {
		if strings.HasPrefix(s.Image, "mizzen/proxy") && s.Image != "mizzen/proxy:${MIZZEN_ENVOY:-latest}" {
			t.Errorf("%s runs %s", name, s.Image)
		}
		// docker compose makes those anew whose labels change.
		if proxy := strings.HasSuffix(name, "-proxy") || name == "gateway"; proxy != (s.Labels["mizzen.dev/profile"] == "${COMPOSE_PROFILES:-}") {
			t.Errorf("%s has labels %v", name, s.Labels)
		}
	}
}

// MIZZEN_CONFIG may be any folder: of the short form "my/yaml:/config/shop", docker compose would make a volume called my/yaml.
func TestFolders(t *testing.T) {
	file := readCompose(t)
	for _, name := range []string{"controlplane", "ratelimit"} {
		if !slices.ContainsFunc(file.Services[name].Volumes, func(v any) bool {
			m, _ := v.(map[string]any)
			return m["type"] == "bind" && m["source"] == "${MIZZEN_CONFIG:-./examples/shop}" && m["target"] == "/config/shop" && m["read_only"] == true
		}) {
			t.Errorf("%s mounts %v", name, file.Services[name].Volumes)
		}
	}
}
