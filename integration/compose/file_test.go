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
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// composeFile is what the test reads of docker-compose.yaml.
type composeFile struct {
	Services map[string]struct {
		Image       string
		NetworkMode string `json:"network_mode"`
		Networks    any
		Environment map[string]string
	}
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
	raw, err := os.ReadFile(filepath.Join(root, "docker-compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
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
