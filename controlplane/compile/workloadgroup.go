package compile

import (
	"cmp"
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	networking "istio.io/api/networking/v1alpha3"
)

// groupAnnotation of a WorkloadEntry names the WorkloadGroup that it is one of, as Istio's own registration writes it.
const groupAnnotation = "istio.io/autoRegistrationGroup"

// groups finds WorkloadGroups by namespace and name.
func (c *compiler) groups() map[name]*networking.WorkloadGroup {
	out := map[name]*networking.WorkloadGroup{}
	for _, o := range c.set.WorkloadGroups {
		out[name{o.Namespace, o.Name}] = o.Spec
	}
	return out
}

// ofGroup is a WorkloadEntry with what its group says and it does not say itself.
func (c *compiler) ofGroup(groups map[name]*networking.WorkloadGroup, o *istio.Object[*networking.WorkloadEntry]) *networking.WorkloadEntry {
	group := o.Annotations[groupAnnotation]
	if group == "" {
		return o.Spec
	}
	g := groups[name{o.Namespace, group}]
	if g == nil {
		c.report(&o.Meta, annotationPath(groupAnnotation), istio.Warning, codeNotFound,
			fmt.Sprintf("WorkloadGroup %s not found in namespace %s: the entry stands for itself", group, o.Namespace), "")
		return o.Spec
	}
	out, t := proto.CloneOf(o.Spec), g.GetTemplate()
	out.Labels = maps.Clone(g.GetMetadata().GetLabels())
	for k, v := range o.Spec.GetLabels() {
		if out.Labels == nil {
			out.Labels = map[string]string{}
		}
		out.Labels[k] = v
	}
	if len(out.Ports) == 0 {
		out.Ports = t.GetPorts()
	}
	out.Locality = cmp.Or(out.Locality, t.GetLocality())
	out.Weight = cmp.Or(out.Weight, t.GetWeight())
	out.ServiceAccount = cmp.Or(out.ServiceAccount, t.GetServiceAccount(), "default")
	return out
}
