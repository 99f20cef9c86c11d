package settings

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	networking "istio.io/api/networking/v1beta1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/mizzen-mesh/mizzen/controlplane/effective"
)

// resource reads a ProxyConfig as the API server has it.
func resource(u *unstructured.Unstructured) (effective.Resource, error) {
	out := effective.Resource{Namespace: u.GetNamespace(), Name: u.GetName(), Created: u.GetCreationTimestamp().Time, Spec: &networking.ProxyConfig{}}
	raw, err := json.Marshal(u.Object["spec"])
	if err == nil && string(raw) != "null" {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, out.Spec)
	}
	if err != nil {
		return effective.Resource{}, fmt.Errorf("read spec: %w", err)
	}
	return out, nil
}

// slim leaves a node its name and its kubelet's version.
func slim(x any) (any, error) {
	n, ok := x.(*corev1.Node)
	if !ok {
		return x, nil
	}
	out := &corev1.Node{}
	out.Name, out.ResourceVersion = n.Name, n.ResourceVersion
	out.Status.NodeInfo.KubeletVersion = n.Status.NodeInfo.KubeletVersion
	return out, nil
}

// nativeSince is the Kubernetes whose native sidecars are stable: Istio's choice, too.
const nativeSince = "1.33.0"

// native tells whether every node has native sidecars; without nodes, whether the API server is of such a version.
func (c Cluster) native(nodes []*corev1.Node) bool {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Status.NodeInfo.KubeletVersion)
	}
	if len(all) == 0 {
		v, err := c.Client.Discovery().ServerVersion()
		if err != nil {
			return false
		}
		all = append(all, v.GitVersion)
	}
	least := version.MustParseGeneric(nativeSince)
	for _, s := range all {
		v, err := version.ParseGeneric(s)
		if err != nil || v.LessThan(least) {
			return false
		}
	}
	return true
}
