package kube

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"

	networking "istio.io/api/networking/v1alpha3"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// secrets are those that are followed: the ones that a Gateway, a DestinationRule or a plugin names, so that the content of no other reaches
// this process. Where RBAC does not let a namespace's Secrets be listed, each of them has a watch of its own.
type secrets struct {
	source  *source
	shelves map[string]*shelf // by namespace
	running map[istio.Ref]context.CancelFunc
	want    map[istio.Ref]bool // that are followed

	of      istio.Set   // whose names were looked up last
	ingress []string    // that Gateways name
	egress  []string    // that DestinationRules name, for gateways
	pulls   []istio.Ref // that plugins name
	places  []string    // namespaces of gateways
}

// follow brings what is followed in line with what a Set names.
func (s *secrets) follow(set istio.Set) {
	rules := !sameList(set.Gateways, s.of.Gateways) || !sameList(set.DestinationRules, s.of.DestinationRules) ||
		!sameList(set.WasmPlugins, s.of.WasmPlugins) || !sameList(set.TrafficExtensions, s.of.TrafficExtensions)
	pods := !sameList(set.Pods, s.of.Pods)
	if rules {
		s.names(set)
	}
	if rules || pods {
		s.gateways(set)
		s.of = set
		s.turnTo(s.wanted())
	}
	for _, h := range s.shelves {
		if h.isDenied() {
			s.oneByOne(h)
		}
	}
}

// turnTo follows what is wanted and nothing else.
func (s *secrets) turnTo(want map[istio.Ref]bool) {
	places := map[string]bool{}
	for ref := range want {
		places[ref.Namespace] = true
		h := s.shelves[ref.Namespace]
		if h == nil {
			h = s.source.openShelf(ref.Namespace)
			s.shelves[ref.Namespace] = h
		}
		switch {
		case s.want[ref]:
		case h.isDenied():
			s.begin(ref)
		default:
			h.add(ref.Name)
		}
	}
	for ref := range s.want {
		if want[ref] {
			continue
		}
		if cancel := s.running[ref]; cancel != nil {
			cancel()
			delete(s.running, ref)
			s.source.put(ref, nil)
		} else {
			s.shelves[ref.Namespace].remove(ref.Name)
		}
	}
	for ns, h := range s.shelves {
		if !places[ns] {
			h.cancel()
			delete(s.shelves, ns)
		}
	}
	s.want = want
}

// oneByOne gives each Secret of a namespace that may not be listed a watch of its own.
func (s *secrets) oneByOne(h *shelf) {
	h.cancel()
	for ref := range s.want {
		if ref.Namespace == h.namespace && s.running[ref] == nil {
			s.begin(ref)
		}
	}
}

// wanted are the Secrets that names and gateways found.
func (s *secrets) wanted() map[istio.Ref]bool {
	want := map[istio.Ref]bool{}
	for _, ref := range s.pulls {
		want[ref] = true
	}
	for _, ns := range s.places {
		for _, n := range append(s.ingress[:len(s.ingress):len(s.ingress)], s.egress...) {
			want[istio.Ref{Kind: "Secret", Namespace: ns, Name: n}] = true
		}
	}
	return want
}

// patience is how long the start waits for a Secret, which RBAC may not let this process read.
const patience = 5 * time.Second

func sameList[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

func (s *secrets) begin(ref istio.Ref) {
	ctx, cancel := context.WithCancel(s.source.ctx)
	s.running[ref] = cancel
	informer := coreinformers.NewFilteredSecretInformer(s.source.client, ref.Namespace, 0, cache.Indexers{}, named(ref.Name))
	w := waiting{what: ref.String(), until: time.Now().Add(patience)}
	if _, err := s.source.register(ctx, "Secret", w, informer, trim); err != nil {
		s.source.Log.Error("cannot follow a Secret", "secret", ref.String(), "error", err)
	}
}

// names finds what the objects of a Set name.
func (s *secrets) names(set istio.Set) {
	s.ingress, s.egress, s.pulls = nil, nil, nil
	for _, o := range set.Gateways {
		for _, srv := range o.Spec.GetServers() {
			t := srv.GetTls()
			for _, n := range append([]string{t.GetCredentialName(), t.GetCaCertCredentialName()}, t.GetCredentialNames()...) {
				s.ingress = appendNames(s.ingress, n)
			}
		}
	}
	for _, o := range set.DestinationRules {
		for _, t := range clientSettings(o.Spec) {
			s.egress = appendNames(s.egress, t.GetCredentialName())
		}
	}
	for _, o := range set.WasmPlugins {
		s.pulls = appendRef(s.pulls, o.Namespace, o.Spec.GetImagePullSecret())
	}
	for _, o := range set.TrafficExtensions {
		s.pulls = appendRef(s.pulls, o.Namespace, o.Spec.GetWasm().GetImagePullSecret())
	}
}

// appendNames adds the Secret that a credential's name means, and the one of its roots.
func appendNames(list []string, credential string) []string {
	n := strings.TrimPrefix(credential, mesh.KubernetesSecret)
	if n == "" {
		return list
	}
	return append(list, n, n+mesh.RootsSuffix)
}

func appendRef(list []istio.Ref, namespace, name string) []istio.Ref {
	if name == "" {
		return list
	}
	return append(list, istio.Ref{Kind: "Secret", Namespace: namespace, Name: name})
}

func clientSettings(d *networking.DestinationRule) []*networking.ClientTLSSettings {
	var out []*networking.ClientTLSSettings
	policy := func(p *networking.TrafficPolicy) {
		out = append(out, p.GetTls())
		for _, port := range p.GetPortLevelSettings() {
			out = append(out, port.GetTls())
		}
	}
	policy(d.GetTrafficPolicy())
	for _, sub := range d.GetSubsets() {
		policy(sub.GetTrafficPolicy())
	}
	return out
}

// gateways finds the namespaces of the pods that Gateways select; a Gateway's own, if it selects none.
func (s *secrets) gateways(set istio.Set) {
	seen := map[string]bool{}
	s.places = nil
	place := func(ns string) {
		if !seen[ns] {
			seen[ns] = true
			s.places = append(s.places, ns)
		}
	}
	selectors := map[string]bool{} // that were looked at
	for _, o := range set.Gateways {
		selector := o.Spec.GetSelector()
		key := metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: selector})
		if any, known := selectors[key]; known {
			if !any {
				place(o.Namespace)
			}
			continue
		}
		found := false
		for _, p := range set.Pods {
			if len(selector) > 0 && mesh.Selects(selector, p.Labels) {
				found = true
				place(p.Namespace)
			}
		}
		if selectors[key] = found; !found {
			place(o.Namespace)
		}
	}
}
