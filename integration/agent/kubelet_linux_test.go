package agent

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/mizzen-mesh/mizzen/controlplane/ca"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/integration/meshtest"
	"github.com/mizzen-mesh/mizzen/integration/netnstest"
)

// What a cluster does with manifests that kube-inject has written, as far as these pods need it: kubelet's part, and a container runtime's.

// injected has the real command put the sidecar into manifests, and returns what a cluster makes of each Deployment: a pod, and its name.
func injected(t *testing.T, manifests string) []corev1.Pod {
	t.Helper()
	c := exec.Command(meshtest.Binary(t), "kube-inject", "-f", "-")
	var out, said bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(manifests), &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("kube-inject: %v\n%s", err, said.String())
	}
	if said.Len() > 0 {
		t.Errorf("kube-inject has something to say:\n%s", said.String())
	}
	var pods []corev1.Pod
	for _, doc := range strings.Split(out.String(), "\n---\n") {
		var d appsv1.Deployment
		if err := yaml.UnmarshalStrict([]byte(doc), &d); err != nil {
			t.Fatalf("what kube-inject wrote: %v\n%s", err, doc)
		}
		p := corev1.Pod{ObjectMeta: d.Spec.Template.ObjectMeta, Spec: d.Spec.Template.Spec}
		p.APIVersion, p.Kind, p.Name, p.Namespace = "v1", "Pod", d.Name+"-0", d.Namespace
		p.Spec.NodeName, p.Status.HostIP = "node", netnstest.Gateway
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		pods = append(pods, p)
	}
	return pods
}

// launch makes the pod's volumes and starts its containers, in kubelet's order.
func (p *pod) launch(t *testing.T) {
	t.Helper()
	spec := p.manifest.Spec
	if spec.SecurityContext != nil {
		for _, s := range spec.SecurityContext.Sysctls {
			if out, err := p.Command(context.Background(), 0, "sysctl", "-w", s.Name+"="+s.Value).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	for _, v := range spec.Volumes {
		p.volume(t, v)
	}
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			p.run(t, c)
			p.started(t, c)
			continue
		}
		p.complete(t, c)
	}
	for _, c := range spec.Containers {
		p.run(t, c)
	}
}

// named is one of the pod's containers, of whatever kind.
func (p *pod) named(t *testing.T, name string) corev1.Container {
	t.Helper()
	all := slices.Concat(p.manifest.Spec.InitContainers, p.manifest.Spec.Containers)
	i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("%s has no container %s", p.manifest.Name, name)
	}
	return all[i]
}

// run starts a container that goes on, whatever test is under way.
func (p *pod) run(t *testing.T, c corev1.Container) {
	t.Helper()
	p.containers[c.Name] = p.StartContainer(p.world.t, p.manifest.Name+"/"+c.Name, p.container(t, c))
}

// complete runs a container to its end; more are further arguments.
func (p *pod) complete(t *testing.T, c corev1.Container, more ...string) {
	t.Helper()
	c.Args = append(slices.Clone(c.Args), more...)
	if out, err := p.Run(context.Background(), p.container(t, c)); err != nil {
		t.Fatalf("%s of %s: %v\n%s", c.Name, p.manifest.Name, err, out)
	}
}

// started awaits what kubelet does before it goes on.
func (p *pod) started(t *testing.T, c corev1.Container) {
	t.Helper()
	envoytest.Await(t, 60*time.Second, c.Name+" of "+p.manifest.Name+" has started", func() bool {
		return c.StartupProbe == nil || p.probe(c.StartupProbe) == 200
	})
}

// probe asks as kubelet does, from the node, and returns the status; 0: there was no answer.
func (p *pod) probe(by *corev1.Probe) int {
	if by.HTTPGet == nil {
		return 0
	}
	return p.world.status(p.url(by.HTTPGet.Port.IntValue(), by.HTTPGet.Path))
}

// images are files of images by their names without a tag.
func (w *world) images(t *testing.T) map[string]map[string]string {
	const program = "/usr/local/bin/mizzen"
	return map[string]map[string]string{
		"mizzen/proxy":  {program: w.binary, "/usr/local/bin/envoy": envoytest.Find(t)},
		"mizzen/module": {program: w.binary, "/mizzen/libmizzen.so": envoytest.Module(t)},
		"mizzen/app":    {program: w.binary},
	}
}

// container as its image, its volumes and its security context make it.
func (p *pod) container(t *testing.T, c corev1.Container) netnstest.Container {
	t.Helper()
	name, _, _ := strings.Cut(c.Image, ":")
	image, ok := p.world.images(t)[name]
	if !ok {
		t.Fatalf("%s of %s: there is no image %s", c.Name, p.manifest.Name, c.Image)
	}
	env := p.env(t, c)
	out := netnstest.Container{Image: image, UID: appUser, GID: appUser, Escalate: true, Command: []string{"/usr/local/bin/mizzen"}}
	for _, v := range c.VolumeMounts {
		out.Volumes = append(out.Volumes, netnstest.Volume{From: filepath.Join(p.dir, v.Name), To: v.MountPath, ReadOnly: v.ReadOnly})
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out.Env = append(out.Env, name+"="+env[name])
	}
	for _, a := range c.Args {
		out.Command = append(out.Command, expand(a, env))
	}
	s := c.SecurityContext
	if s == nil {
		return out
	}
	if s.RunAsUser == nil || s.RunAsGroup == nil || s.AllowPrivilegeEscalation == nil || s.ReadOnlyRootFilesystem == nil || s.Capabilities == nil {
		t.Fatalf("%s of %s leaves parts of its security context to the cluster: %v", c.Name, p.manifest.Name, s)
	}
	out.UID, out.GID, out.Escalate, out.ReadOnlyRoot = int(*s.RunAsUser), int(*s.RunAsGroup), *s.AllowPrivilegeEscalation, *s.ReadOnlyRootFilesystem
	for _, x := range s.Capabilities.Add {
		out.Capabilities = append(out.Capabilities, strings.ToLower(string(x)))
	}
	return out
}

var reference = regexp.MustCompile(`\$\(([A-Za-z0-9_]+)\)`)

// expand replaces $(NAME).
func expand(text string, env map[string]string) string {
	return reference.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := env[m[2:len(m)-1]]; ok {
			return v
		}
		return m
	})
}

// env are a container's variables.
func (p *pod) env(t *testing.T, c corev1.Container) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, e := range c.Env {
		switch from := e.ValueFrom; {
		case from == nil:
			env[e.Name] = expand(e.Value, env)
		case from.FieldRef != nil:
			env[e.Name] = p.field(t, from.FieldRef.FieldPath)
		case from.ResourceFieldRef != nil:
			limit := c.Resources.Limits[corev1.ResourceName(strings.TrimPrefix(from.ResourceFieldRef.Resource, "limits."))]
			n := limit.AsApproximateFloat64()
			if limit.IsZero() {
				n = map[string]float64{"limits.cpu": 2, "limits.memory": 4 << 30}[from.ResourceFieldRef.Resource] // what the node has
			}
			env[e.Name] = fmt.Sprint(int64(math.Ceil(n)))
		default:
			t.Fatalf("%s of %s: variable %s: %v", c.Name, p.manifest.Name, e.Name, from)
		}
	}
	return env
}

// field is one of the downward API's.
func (p *pod) field(t *testing.T, path string) string {
	t.Helper()
	m := p.manifest
	switch path {
	case "metadata.name":
		return m.Name
	case "metadata.namespace":
		return m.Namespace
	case "metadata.labels":
		return lines(m.Labels)
	case "metadata.annotations":
		return lines(m.Annotations)
	case "spec.serviceAccountName":
		return m.Spec.ServiceAccountName
	case "spec.nodeName":
		return m.Spec.NodeName
	case "status.hostIP":
		return m.Status.HostIP
	case "status.podIP":
		return m.Status.PodIP
	case "status.podIPs":
		var all []string
		for _, ip := range m.Status.PodIPs {
			all = append(all, ip.IP)
		}
		return strings.Join(all, ",")
	}
	t.Fatalf("%s: no field %s", m.Name, path)
	return ""
}

func lines(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", k, m[k])
	}
	return b.String()
}

// volume makes a volume's directory.
func (p *pod) volume(t *testing.T, v corev1.Volume) {
	t.Helper()
	dir := filepath.Join(p.dir, v.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	switch {
	case v.EmptyDir != nil:
		p.world.mode(t, dir, 0o777)
	case v.ConfigMap != nil && v.ConfigMap.Name == "istio-ca-root-cert":
		root, err := os.ReadFile(filepath.Join(p.world.dir, "ca", ca.RootFile))
		if err != nil {
			t.Fatal(err)
		}
		files["root-cert.pem"] = string(root)
	case v.DownwardAPI != nil:
		for _, i := range v.DownwardAPI.Items {
			files[i.Path] = p.field(t, i.FieldRef.FieldPath)
		}
	case v.Projected != nil && len(v.Projected.Sources) == 1 && v.Projected.Sources[0].ServiceAccountToken != nil:
		token, err := ca.Token(p.world.signer, p.manifest.Namespace, p.manifest.Spec.ServiceAccountName, time.Now(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		files[v.Projected.Sources[0].ServiceAccountToken.Path] = token
	default:
		t.Fatalf("%s: volume %s: %v", p.manifest.Name, v.Name, v.VolumeSource)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
