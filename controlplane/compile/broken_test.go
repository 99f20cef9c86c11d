package compile_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/internal/golden"
	"go.yaml.in/yaml/v3"
)

// breakage spoils a document; what says how. False: this document cannot be spoilt so.
type breakage struct {
	what  string
	spoil func(r *rand.Rand, root *yaml.Node) bool
}

func breakages() []breakage {
	return []breakage{
		{"a value of the wrong type", func(r *rand.Rand, root *yaml.Node) bool {
			n := pick(r, root, func(n *yaml.Node) bool { return n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode })
			if n == nil {
				return false
			}
			*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "7"}
			return true
		}},
		{"an unknown field", func(r *rand.Rand, root *yaml.Node) bool {
			root.Content = append(root.Content, scalar("nosuchfield"), scalar("x"))
			return root.Kind == yaml.MappingNode
		}},
		{"a value that no field takes", func(r *rand.Rand, root *yaml.Node) bool {
			n := pick(r, root, func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode })
			if n == nil {
				return false
			}
			*n = yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("no"), scalar("such")}}
			return true
		}},
		{"no spec at all", func(_ *rand.Rand, root *yaml.Node) bool {
			*root = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{scalar("x")}}
			return true
		}},
	}
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// pick chooses a value below a mapping.
func pick(r *rand.Rand, root *yaml.Node, ok func(*yaml.Node) bool) *yaml.Node {
	var all []*yaml.Node
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				continue // a key
			}
			if ok(c) {
				all = append(all, c)
			}
			walk(c)
		}
	}
	walk(root)
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

// TestABrokenObjectHurtsNoOther: beside the objects of a case, one more of any kind that is broken in any way leaves everything as it
// was that comes of the others, and what is said of it names it, its file and a line within it. An object that is not refused, for it
// can be read all the same, tells nothing here.
func TestABrokenObjectHurtsNoOther(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 5))
	tried := map[string]int{}
	for _, c := range golden.Load(t, corpus) {
		set, _ := inputs(c)
		before := golden.YAML(worldOf(set))
		docs := istioDocuments(c)
		for range min(len(docs), 6) {
			for _, b := range breakages() {
				text, ref, ok := broken(r, docs[r.IntN(len(docs))], b)
				if !ok {
					continue
				}
				bad, diags := istio.Decode("broken.yaml", strings.NewReader(text))
				if len(bad.Metas()) > 0 {
					continue
				}
				tried[ref.Kind+": "+b.what]++
				named := slices.ContainsFunc(diags, func(d istio.Diagnostic) bool {
					return d.Severity == istio.Error && d.Object == ref && d.Position.File == "broken.yaml" && d.Position.Line > 0 && d.Position.Line <= strings.Count(text, "\n")
				})
				if !named {
					t.Errorf("%s: %s with %s: no error names it and its line:\n%v\n%s", c.Name, ref, b.what, diags, text)
				}
				both, _ := istio.Merge(set, bad)
				if got := golden.YAML(worldOf(both)); got != before {
					t.Errorf("%s: beside %s with %s the others come to something else:\n%s\n%s", c.Name, ref, b.what, golden.Diff(before, got), text)
				}
				beside(t, c, set, text, before)
			}
		}
	}
	if len(tried) < 30 {
		t.Errorf("only %d kinds of mistakes were made: %v", len(tried), tried)
	}
}

// beside holds that the same file may hold good objects too.
func beside(t *testing.T, c *golden.Case, set istio.Set, bad, before string) {
	t.Helper()
	for _, f := range c.Archive.Files {
		if !isInput(f.Name) {
			continue
		}
		whole, _ := istio.Decode(f.Name, bytes.NewReader(f.Data))
		with, _ := istio.Decode(f.Name, strings.NewReader(string(f.Data)+"\n---\n"+bad))
		if len(whole.Metas()) != len(with.Metas()) {
			t.Errorf("%s: %d objects of %s are left of %d beside:\n%s", c.Name, len(with.Metas()), f.Name, len(whole.Metas()), bad)
		}
		return
	}
}

func worldOf(set istio.Set) any {
	w, _ := compile.World(compile.Inputs{Set: set})
	return w
}

// istioDocuments are the documents of a case that hold Istio's or Mizzen's own kinds.
func istioDocuments(c *golden.Case) [][]byte {
	var out [][]byte
	for _, f := range c.Archive.Files {
		if !isInput(f.Name) {
			continue
		}
		for _, doc := range strings.Split("\n"+string(f.Data), "\n---\n") {
			if strings.Contains(doc, ".istio.io/") || strings.Contains(doc, "apiVersion: mizzen.dev/") {
				out = append(out, []byte(doc))
			}
		}
	}
	return out
}

// broken spoils the spec of a document, under a name of its own.
func broken(r *rand.Rand, doc []byte, b breakage) (text string, ref istio.Ref, ok bool) {
	var root yaml.Node
	if yaml.Unmarshal(doc, &root) != nil || len(root.Content) == 0 {
		return "", ref, false
	}
	kind, spec := "", (*yaml.Node)(nil)
	top := root.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		switch value := top.Content[i+1]; top.Content[i].Value {
		case "kind":
			kind = value.Value
		case "spec":
			spec = value
		case "metadata":
			*value = yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("name"), scalar("broken-one")}}
		}
	}
	if spec == nil || !b.spoil(r, spec) {
		return "", ref, false
	}
	raw, err := yaml.Marshal(&root)
	return string(raw), istio.Ref{Kind: kind, Namespace: "default", Name: "broken-one"}, err == nil && kind != ""
}

// unmet are objects that name what there is not, and bear on nobody.
const unmet = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dangling, namespace: dangling}
spec:
  hosts: [dangling.example.com]
  gateways: [nowhere/none]
  http: [{route: [{destination: {host: none.nowhere.svc.cluster.local, subset: none}}], mirror: {host: none.example.com}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dangling-delegate, namespace: dangling}
spec: {hosts: [other.dangling.example.com], gateways: [nowhere/none], http: [{delegate: {name: none, namespace: nowhere}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: dangling, namespace: dangling}
spec: {host: none.nowhere.svc.cluster.local, trafficPolicy: {tls: {mode: SIMPLE, credentialName: none}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: dangling, namespace: dangling}
spec:
  selector: {app: nobody-at-all}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: none}}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: dangling, namespace: dangling}
spec: {workloadSelector: {labels: {app: nobody-at-all}}, egress: [{hosts: [nowhere/none.example.com]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: dangling, namespace: dangling}
spec: {targetRefs: [{kind: Service, name: none}], action: CUSTOM, provider: {name: none}, rules: [{}]}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: dangling, namespace: dangling}
spec: {targetRef: {group: networking.istio.io, kind: ServiceEntry, name: none}, jwtRules: [{issuer: none, jwksUri: "http://none.nowhere.svc.cluster.local/keys"}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: dangling, namespace: dangling}
spec:
  targetRefs: [{kind: Service, name: none}]
  tracing: [{providers: [{name: none}]}]
  metrics: [{providers: [{name: none}]}]
  accessLogging: [{providers: [{name: none}]}]
`

// TestDanglingReferencesHurtNoOther: beside objects that name services, gateways, delegates, secrets and providers that are not
// there, every proxy is given what it is given without them; and of each such object something is said.
func TestDanglingReferencesHurtNoOther(t *testing.T) {
	var more []document
	d := yaml.NewDecoder(strings.NewReader(unmet))
	for {
		var root map[string]any
		if d.Decode(&root) != nil {
			break
		}
		kind, _ := root["kind"].(string)
		more = append(more, document{kind, root})
	}
	set, diags := istio.Decode("dangling.yaml", strings.NewReader(unmet))
	if len(diags.Errors()) > 0 || len(set.Metas()) != len(more) {
		t.Fatalf("%d of %d objects are read: %v", len(set.Metas()), len(more), diags)
	}
	_, found := compile.World(compile.Inputs{Set: set})
	for _, m := range set.Metas() {
		if !slices.ContainsFunc(append(diags, found...), func(d istio.Diagnostic) bool { return d.Object == m.Ref && d.Position.Line > 0 }) {
			t.Errorf("%s: nothing is said of it", m.Ref)
		}
	}
	for _, x := range loaded(t) {
		if x.output(t, append(slices.Clone(x.docs), more...)).sum == x.base.sum {
			continue
		}
		for _, one := range more {
			if x.output(t, append(slices.Clone(x.docs), one)).sum != x.base.sum {
				t.Errorf("%s: beside a %s that names what there is not, a proxy is given something else:\n%v", x.Name, one.kind, one.root)
			}
		}
	}
}
