package charts

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// render is `helm template mizzen charts/mizzen -n istio-system --set ...`, and what it says if it fails.
func render(t *testing.T, set ...string) (string, error) {
	t.Helper()
	c, err := Mizzen()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, s := range set {
		if err := strvals.ParseInto(s, values); err != nil {
			t.Fatal(err)
		}
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "mizzen", Namespace: "istio-system", Revision: 1, IsInstall: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, name := range []string{"rbac", "configmaps", "controlplane", "injector", "cni", "ratelimit", "gateways", "webhooks", "networkpolicies"} {
		b.WriteString("---\n# " + name + ".yaml\n" + strings.TrimSpace(files["mizzen/templates/"+name+".yaml"]) + "\n")
	}
	return b.String(), nil
}

// TestProfiles: what each profile comes to, and a revision beside an installation.
func TestProfiles(t *testing.T) {
	for name, set := range map[string][]string{
		"default":  nil,
		"demo":     {"profile=demo"},
		"minimal":  {"profile=minimal"},
		"revision": {"revision=canary", "revisionTags={prod,default}", "controlplane.autoscale.min=2"},
		"node":     {"profile=minimal", "pilot.cni.enabled=true", "pilot.cni.namespace=kube-system", "pilot.cni.podAnnotations.a=b", "pilot.cni.nodeSelector.c=d"},
		"placed": {
			"profile=demo", "services.ipFamilyPolicy=PreferDualStack", "controlplane.priorityClassName=high", "injector.serviceAccountAnnotations.a=b", "ratelimit.enabled=false",
			"gateways.ingress.topologySpreadConstraints[0].maxSkew=1", "gateways.ingress.serviceAccountAnnotations.role=edge", "gateways.ingress.service.ipFamilyPolicy=RequireDualStack",
			"gateways.ingress.service.ipFamilies={IPv6,IPv4}", "gateways.ingress.service.allocateLoadBalancerNodePorts=false", "gateways.ingress.service.loadBalancerClass=example.com/lb",
			"gateways.ingress.service.ports[0].name=https", "gateways.ingress.service.ports[0].port=8443", "gateways.egress.enabled=false",
		},
		"closed": {"networkPolicy.enabled=true", "gateways.egress.enabled=true", "ratelimit.replicas=2", "ratelimit.redis=redis:6379", "controlplane.secretNamespaces={edge}", "global.imagePullSecrets={regcred}", "injector.config.policy=disabled", "validation.failurePolicy=Fail"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(t, set...)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".yaml"), got)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what the chart makes; go test ./charts -update, and look at the difference", file)
	}
}

// TestUnknown: a misspelt value is refused by its name, and so is a profile.
func TestUnknown(t *testing.T) {
	for set, want := range map[string]string{
		"controlplane.replica=3":           "there is no value controlplane.replica;",
		"pilot.cni.enable=true":            "there is no value pilot.cni.enable;",
		"gateway.ingress.enabled=false":    "there is no value gateway;",
		"gateways.ingress.service.typ=x":   "there is no value gateways.ingress.service.typ;",
		"profile=tiny":                     `profile "tiny" is none of default, demo, minimal`,
		"injector.autoscale.enabld=false":  "there is no value injector.autoscale.enabld;",
		"mizzen.module.delivry=imageVolme": "there is no value mizzen.module.delivry;",
	} {
		if _, err := render(t, set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: got error %v, want one with %q", set, err, want)
		}
	}
	if _, err := render(t, "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY", "global.proxy.privileged=true"); err != nil {
		t.Errorf("Istio's own values are free: %v", err)
	}
}

// TestValuesDocument: values.yaml lists every value with its default.
func TestValuesDocument(t *testing.T) {
	defaults, err := os.ReadFile("mizzen/files/defaults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const file = "mizzen/values.yaml"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(old), "\nprofile: default\n")
	if !ok {
		t.Fatalf("%s has no line \"profile: default\"", file)
	}
	comment := regexp.MustCompile(`(?m)^([^#\n].*)$`).ReplaceAllString(string(defaults), "#$1")
	golden(t, file, head+"\nprofile: default\n\n"+comment)
}

// TestNetworkPolicies: where they are enforced, whatever one of Mizzen's pods serves is let through, and nothing else.
func TestNetworkPolicies(t *testing.T) {
	const ports = "gateways.egress.service.ports"
	text, err := render(t, "networkPolicy.enabled=true", "profile=demo", ports+"[0].name=tls", ports+"[0].port=15443", ports+"[0].targetPort=8443",
		ports+"[1].name=quic", ports+"[1].port=8444", ports+"[1].protocol=UDP")
	if err != nil {
		t.Fatal(err)
	}
	var policies []networkingv1.NetworkPolicy
	var deployments []appsv1.Deployment
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var p networkingv1.NetworkPolicy
		var d appsv1.Deployment
		switch err := yaml.Unmarshal([]byte(doc), &p); {
		case err == nil && p.Kind == "NetworkPolicy":
			policies = append(policies, p)
		case strings.Contains(doc, "\nkind: Deployment\n"):
			if err := yaml.Unmarshal([]byte(doc), &d); err != nil {
				t.Fatal(err)
			}
			deployments = append(deployments, d)
		}
	}
	if len(deployments) != 5 {
		t.Fatalf("%d Deployments", len(deployments))
	}
	for _, d := range deployments {
		want, got := map[string]bool{}, map[string]bool{}
		if strings.HasPrefix(d.Name, "istio-") {
			want["TCP 15020"], want["TCP 15090"] = true, true // metrics, of what the injector adds
		}
		for _, p := range d.Spec.Template.Spec.Containers[0].Ports {
			want[fmt.Sprint(cmp.Or(p.Protocol, "TCP"), " ", p.ContainerPort)] = true
		}
		for _, p := range policies {
			if p.Namespace != d.Namespace || !labels.SelectorFromSet(p.Spec.PodSelector.MatchLabels).Matches(labels.Set(d.Spec.Template.Labels)) {
				continue
			}
			for _, port := range p.Spec.Ingress[0].Ports {
				got[fmt.Sprint(*port.Protocol, " ", port.Port.String())] = true
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: open are %v, its pods serve %v", d.Name, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
		}
	}
}
