package generated

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/controlplane/view"
	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
	"github.com/mizzen-mesh/mizzen/integration/adstest"
)

// proxies are a sidecar that binds ports, one that intercepts, in another namespace and without Mizzen's module, and a gateway.
func proxies() []mesh.Node {
	named := func(kind, ip, name, namespace, app string) mesh.Node {
		domain := namespace + ".svc.cluster.local"
		return mesh.Node{
			ID: kind + "~" + ip + "~" + name + "." + namespace + "~" + domain, Name: name, Namespace: namespace, Domain: domain, IP: ip,
			Labels: map[string]string{"app": app, "version": "v1"}, Metadata: map[string]string{"ISTIO_VERSION": istio.ProxyVersion, "NAMESPACE": namespace}, Identity: true,
		}
	}
	plain := named("sidecar", "127.9.1.1", "reviews-1", "default", "reviews")
	plain.HTTPProxyPort, plain.Module = 15001, true
	intercepts := named("sidecar", "127.9.3.1", "details-1", SecondNamespace, "details")
	intercepts.Intercepts = true
	gateway := named("router", "127.9.9.9", "gateway-1", rootNamespace, "gateway")
	gateway.Gateway, gateway.Module, gateway.Labels["istio"] = true, true, "ingressgateway"
	return []mesh.Node{plain, intercepts, gateway}
}

// maker turns documents into what proxies are given, as the control plane does.
type maker struct {
	keys    Keys
	decoded map[string]decoded
	parts   *xdsgen.Builder
}

type decoded struct {
	set   istio.Set
	diags istio.Diagnostics
}

func newMaker(t *testing.T) *maker {
	t.Helper()
	keys, err := NewKeys(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &maker{keys, map[string]decoded{}, xdsgen.NewBuilder()}
}

// set reads documents. What was read before is remembered.
func (m *maker) set(docs []Document) (istio.Set, istio.Diagnostics) {
	var sets []istio.Set
	var diags istio.Diagnostics
	for i, d := range docs {
		text := d.JSON()
		x, ok := m.decoded[text]
		if !ok {
			x.set, x.diags = istio.Decode(fmt.Sprintf("%d.yaml", i), strings.NewReader(text))
			if len(m.decoded) > 1000 {
				clear(m.decoded)
			}
			m.decoded[text] = x
		}
		sets, diags = append(sets, x.set), append(diags, x.diags...)
	}
	set, more := istio.Merge(sets...)
	return set, append(diags, more...)
}

func (m *maker) build(docs []Document) ([]*xdsgen.Resources, istio.Diagnostics, error) {
	set, diags := m.set(docs)
	w, more := compile.World(compile.Inputs{Set: set})
	diags = append(diags, more...)
	cache := view.NewCache(w)
	var out []*xdsgen.Resources
	for _, n := range proxies() {
		r, err := m.parts.Build(cache.Of(n))
		if err != nil {
			return nil, diags, fmt.Errorf("build for %s: %w", n.ID, err)
		}
		out = append(out, r)
	}
	return out, diags, nil
}

// rig is a maker and the proxies that take what it makes.
type rig struct {
	*maker
	*adstest.Rig
	t        *testing.T
	failures int
}

// takes tells why the proxies do not take a configuration, coming from another; "" if they do.
func (r *rig) takes(before, docs []Document) string {
	for _, d := range [][]Document{before, docs} {
		list, _, err := r.build(d)
		if err == nil {
			err = r.Accept(list...)
		}
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// fail explains a configuration that the proxies did not take: the least that they do not take in the same way.
func (r *rig) fail(what string, before, docs []Document, cause error) {
	r.t.Helper()
	r.t.Errorf("%s: %v", what, cause)
	if r.failures++; r.failures > maxFailures {
		r.t.Fatal("too many")
	}
	var from []Document
	why := r.takes(nil, docs)
	if why == "" {
		from, why = before, r.takes(before, docs)
	}
	if why == "" {
		r.t.Logf("%s: taken alone, and taken after the configuration before; whole:\n%s", what, YAML(docs))
		return
	}
	like := func(text string) bool {
		return text != "" && strings.Contains(text, "ended") == strings.Contains(why, "ended")
	}
	docs = Shrink(docs, 150, func(less []Document) bool { return like(r.takes(from, less)) })
	if from != nil {
		from = Shrink(from, 100, func(less []Document) bool { return like(r.takes(less, docs)) })
		r.t.Logf("%s: it takes this before:\n%s", what, YAML(from))
	}
	r.t.Logf("%s: %s\nof\n%s", what, why, YAML(docs))
}

const maxFailures = 5

// sound drops the documents that have errors until there are none.
func (r *rig) sound(docs []Document) ([]Document, []*xdsgen.Resources, istio.Diagnostics, error) {
	for try := 0; ; try++ {
		list, diags, err := r.build(docs)
		bad := map[istio.Ref]bool{}
		for _, d := range diags.Errors() {
			bad[d.Object] = true
		}
		if len(bad) == 0 || err != nil || try == 5 {
			return docs, list, diags, err
		}
		docs = slices.DeleteFunc(slices.Clone(docs), func(d Document) bool { return bad[d.ref()] })
	}
}

// TestGenerated: what compiles without an error is accepted by Envoy, in 2,000 configurations, each given to three proxies in place
// of the one before. Accepted means in force, see adstest. Where there are errors, Envoy accepts the rest.
func TestGenerated(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: gives Envoys thousands of configurations")
	}
	r := &rig{maker: newMaker(t), t: t}
	r.Rig = adstest.Start(t, len(proxies()))
	tame, wild := New(Options{Keys: r.keys}), New(Options{Keys: r.keys, Wild: true})
	clean, broken := 0, 0
	reached := map[string]bool{}
	var before []Document
	for seed := from(t); clean < wanted(t); seed++ {
		docs := tame.Mesh(seed).Documents
		if seed%8 == 7 {
			docs = wild.Mesh(seed).Documents
		}
		list, diags, err := r.build(docs)
		if len(diags.Errors()) > 0 && seed%4 != 3 && err == nil {
			docs, list, diags, err = r.sound(docs)
		}
		if err == nil {
			err = r.Accept(list...)
		}
		if err != nil {
			r.fail(fmt.Sprintf("seed %d", seed), before, docs, err)
		}
		if len(diags.Errors()) > 0 {
			broken++
		} else {
			clean++
			mark(reached, docs)
		}
		before = docs
	}
	t.Logf("%d configurations without errors, %d with", clean, broken)
	if broken < clean/20 {
		t.Errorf("%d configurations with errors beside %d without: too few to tell that the rest is accepted", broken, clean)
	}
	if clean >= fullRun {
		unreached(t, reached)
	}
	for _, w := range r.Warnings() {
		if strings.Contains(w, "eprecated") {
			t.Errorf("Envoy warns: %s", w)
		}
	}
}

// fullRun is how many configurations are wanted.
const fullRun = 2000

// from and wanted are the first seed and the number of configurations, MIZZEN_SEED and MIZZEN_GENERATED of the environment if given.
func from(t *testing.T) uint64 { return number(t, "MIZZEN_SEED", 0) }

func wanted(t *testing.T) int { return int(number(t, "MIZZEN_GENERATED", fullRun)) }

func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return n
}

// mark takes down the paths that are set.
func mark(reached map[string]bool, docs []Document) {
	for _, d := range docs {
		root := "spec"
		if d.Kind() == meshConfig {
			root = "mesh"
		}
		kind := supported().field[d.Kind()]
		if kind == nil {
			continue
		}
		set, path := d[root], "spec"
		if root == "mesh" {
			path = "data.mesh"
		}
		markTree(reached, d.Kind(), path, set, kind)
	}
}

func markTree(reached map[string]bool, kind, path string, v any, fields map[string]istio.Field) {
	if _, ok := fields[path]; ok {
		reached[kind+" "+path] = true
	}
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			markTree(reached, kind, path+"."+k, e, fields)
			markTree(reached, kind, path+"[*]", e, fields)
		}
	case []any:
		for _, e := range x {
			markTree(reached, kind, path+"[]", e, fields)
		}
	}
}

// unreached reports what no configuration without errors has set.
func unreached(t *testing.T, reached map[string]bool) {
	t.Helper()
	var missing []string
	for _, f := range supported().all {
		id := f.Kind + " " + f.Path
		if !reached[id] {
			missing = append(missing, id)
		}
	}
	t.Logf("%d of %d supported paths set", len(supported().all)-len(missing), len(supported().all))
	if len(missing) > 0 {
		t.Logf("supported, and set in no configuration without errors (see values and fixes):\n%s", strings.Join(missing, "\n"))
	}
	if len(missing) > len(supported().all)/50 {
		t.Errorf("%d supported paths are set in no configuration without errors: too many", len(missing))
	}
}
