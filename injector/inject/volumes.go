package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

const bootstrapDir = "/etc/istio/custom-bootstrap"

// volumes adds what every proxy mounts, and says where.
func (b *build) volumes() []corev1.VolumeMount {
	v := b.policy.Values.Global
	emptyDir := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	all := []struct {
		name, path string
		source     corev1.VolumeSource
	}{
		{"workload-socket", "/var/run/secrets/workload-spiffe-uds", emptyDir},
		{"istiod-ca-cert", "/var/run/secrets/istio", corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: v.TrustBundleName},
		}}},
		{"istio-data", "/var/lib/istio/data", emptyDir}, // lasts over restarts of the container
		{"istio-envoy", "/etc/istio/proxy", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		{"istio-token", "/var/run/secrets/tokens", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience: v.SDS.Token.Audience, ExpirationSeconds: ptr(int64(43200)), Path: "istio-token",
			}}},
		}}},
		{"istio-podinfo", "/etc/istio/pod", corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
			Items: []corev1.DownwardAPIVolumeFile{podinfo("labels"), podinfo("annotations")},
		}}},
	}
	var out []corev1.VolumeMount
	for _, x := range all {
		b.volume(corev1.Volume{Name: x.name, VolumeSource: x.source})
		out = append(out, corev1.VolumeMount{Name: x.name, MountPath: x.path})
	}
	if name := b.pod.Annotations["sidecar.istio.io/bootstrapOverride"]; name != "" {
		const volume = "custom-bootstrap-volume"
		b.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
		}}})
		out = append(out, corev1.VolumeMount{Name: volume, MountPath: bootstrapDir})
	}
	return append(out, b.module()...)
}

func podinfo(what string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: what, FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata." + what}}
}

// module brings what runs the policies to the proxy: an init container copies it, or its image is the volume. A proxy whose policies
// run natively needs none.
func (b *build) module() []corev1.VolumeMount {
	delivery := b.policy.Values.Mizzen.Module.Delivery
	if delivery == "none" || b.filters == mesh.HostNative {
		return nil
	}
	mount := corev1.VolumeMount{Name: moduleVolume, MountPath: ModuleDir, ReadOnly: true}
	if delivery == "imageVolume" {
		b.volume(corev1.Volume{Name: moduleVolume, VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{
			Reference: b.image("module"), PullPolicy: b.policy.Values.Global.ImagePullPolicy,
		}}})
		mount.SubPath = "mizzen" // the image's own directory of that name
		return []corev1.VolumeMount{mount}
	}
	b.volume(corev1.Volume{Name: moduleVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	args := []string{"module", "copy", "--to", ModuleDir}
	if _, file := b.carried(); file != "" {
		args = append(args, "--from", file)
	}
	b.container(corev1.Container{
		Name: b.free(ModuleContainer), Image: b.image("module"), ImagePullPolicy: b.policy.Values.Global.ImagePullPolicy,
		Args: args, Resources: *b.resources.DeepCopy(), SecurityContext: b.restricted(),
		VolumeMounts: []corev1.VolumeMount{{Name: moduleVolume, MountPath: ModuleDir}},
	}, true)
	return []corev1.VolumeMount{mount}
}

// usersVolumes are those of annotations sidecar.istio.io/userVolume and userVolumeMount: JSON objects by volumes' names, or arrays.
func (b *build) usersVolumes() ([]corev1.VolumeMount, error) {
	const volumes, mounts = "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount"
	var out []corev1.VolumeMount
	err := each(volumes, b.pod.Annotations[volumes], func(name string, raw json.RawMessage) error {
		v := corev1.Volume{}
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		if name != "" {
			v.Name = name
		}
		if bad := validation.IsDNS1123Label(v.Name); len(bad) > 0 {
			return fmt.Errorf("volume %q: %s", v.Name, bad[0])
		}
		b.volume(v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = each(mounts, b.pod.Annotations[mounts], func(name string, raw json.RawMessage) error {
		m := corev1.VolumeMount{}
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		if name != "" {
			m.Name = name
		}
		if m.MountPath == "" {
			return fmt.Errorf("volume %q: no mountPath", m.Name)
		}
		if !slices.ContainsFunc(b.pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
			return fmt.Errorf("the pod has no volume %q", m.Name)
		}
		out = append(out, m)
		return nil
	})
	return out, err
}

// each walks the members of a JSON object, sorted, or the items of an array, whose names are then in them.
func each(annotation, text string, do func(name string, raw json.RawMessage) error) error {
	if text == "" {
		return nil
	}
	wrong := func(err error) error { return fmt.Errorf("read annotation %s: %w", annotation, err) }
	var items []json.RawMessage
	if json.Unmarshal([]byte(text), &items) == nil {
		for _, raw := range items {
			if err := do("", raw); err != nil {
				return wrong(err)
			}
		}
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return wrong(err)
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if err := do(name, members[name]); err != nil {
			return wrong(err)
		}
	}
	return nil
}
