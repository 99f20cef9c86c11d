package compile

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// piece is a Set of one object.
type piece struct {
	set   istio.Set
	ref   istio.Ref
	whole bool // of a whole kind
}

// pieces are the objects of the corpus, and variants of them that meet in other ways.
func pieces(t *testing.T, r *rand.Rand) []piece {
	t.Helper()
	variants := []*strings.Replacer{
		strings.NewReplacer(), strings.NewReplacer("v1", "v2", "v2", "v1"), strings.NewReplacer("9080", "9081"),
		strings.NewReplacer("name: reviews", "name: ratings", "reviews", "a"), strings.NewReplacer("app: a", "app: b", "host: a", "host: c"),
		strings.NewReplacer("metadata: {name: a", "metadata: {namespace: other, name: a"), strings.NewReplacer("10.0.0.1", "10.0.0.2", "127.1.0.2", "127.1.0.3"),
	}
	var out []piece
	for _, c := range golden.Load(t, "../testdata/compile") {
		for _, f := range c.Archive.Files {
			if !strings.HasSuffix(f.Name, ".yaml") || strings.HasPrefix(f.Name, "node") || strings.HasPrefix(f.Name, "view") {
				continue
			}
			for i, doc := range strings.Split("\n"+string(f.Data), "\n---\n") {
				text := variants[r.IntN(len(variants))].Replace(doc)
				set, _ := istio.Decode(fmt.Sprintf("%s/%s/%d", c.Name, f.Name, i), strings.NewReader(text))
				if ms := set.Metas(); len(ms) == 1 {
					out = append(out, piece{set, ms[0].Ref, isWhole(set)})
				}
			}
		}
	}
	return out
}

func isWhole(set istio.Set) bool {
	v := reflect.ValueOf(set)
	for i := range v.NumField() {
		if traced[v.Type().Field(i).Name] && v.Field(i).Len() > 0 {
			return false
		}
	}
	return true
}

// TestIncrementalIsTheWhole: over random sequences of objects added, edited and removed, what Incremental makes step by step is
// what World makes of the Set at once, diagnostics included; and what is equal to what was before is the same value.
func TestIncrementalIsTheWhole(t *testing.T) {
	const walks, length = 8, 120
	taken := 0
	for seed := range uint64(walks) {
		r := rand.New(rand.NewPCG(seed, 5))
		all := pieces(t, r)
		in := map[istio.Ref]piece{}
		x := &Incremental{}
		var last *mesh.World
		for step := range length {
			p := all[r.IntN(len(all))]
			for p.whole && r.IntN(12) > 0 {
				p = all[r.IntN(len(all))]
			}
			for range 1 + r.IntN(3) {
				if have, ok := in[p.ref]; ok && reflect.DeepEqual(have, p) || ok && r.IntN(4) == 0 {
					delete(in, p.ref)
				} else {
					in[p.ref] = p
				}
				if step > length/10 {
					break
				}
				p = all[r.IntN(len(all))]
			}
			var sets []istio.Set
			for _, p := range in {
				sets = append(sets, p.set)
			}
			set, _ := istio.Merge(sets...)
			world, diags := x.World(Inputs{Set: set})
			want, wantDiags := World(Inputs{Set: set})
			if !reflect.DeepEqual(world, want) || !reflect.DeepEqual(append(istio.Diagnostics{}, diags...), append(istio.Diagnostics{}, wantDiags...)) {
				t.Fatalf("seed %d, step %d, after %s: not what the whole is:\n%s", seed, step, p.ref, golden.Diff(text(want, wantDiags), text(world, diags)))
			}
			shared(t, last, world)
			last = world
		}
		taken += x.steps
	}
	if taken < walks*length/3 { // the rest changes objects of whole kinds, or what these look at
		t.Errorf("only %d of %d Worlds were made step by step", taken, walks*length)
	}
}

func text(w *mesh.World, ds istio.Diagnostics) string {
	b, err := json.MarshalIndent(map[string]any{"services": w.Services, "workloads": w.Workloads, "rules": w.Rules, "policies": w.Policies,
		"settings": w.Settings, "limits": w.Limits, "tracing": w.Tracing, "gateways": w.Gateways, "sidecars": w.Sidecars, "diagnostics": ds}, "", " ")
	if err != nil {
		return err.Error()
	}
	eps := map[string]any{}
	for k, v := range w.Endpoints {
		eps[fmt.Sprint(k)] = v
	}
	e, _ := json.MarshalIndent(eps, "", " ")
	return string(b) + "\n" + string(e)
}

// shared fails if a part is equal to one before and another value.
func shared(t *testing.T, old, now *mesh.World) {
	t.Helper()
	if old == nil {
		return
	}
	for _, r := range now.Rules {
		for _, o := range old.Rules {
			if o != r && reflect.DeepEqual(o, r) {
				t.Fatalf("rule %s/%s was made again", r.Namespace, r.Name)
			}
		}
	}
	for _, s := range now.Services {
		for _, o := range old.Services {
			if o != s && reflect.DeepEqual(o, s) {
				t.Fatalf("service %s was made again", s.Hostname)
			}
		}
	}
}

func TestIncrementalTouchesLittle(t *testing.T) {
	var in []istio.Set
	add := func(text string) istio.Set {
		s, ds := istio.Decode("x.yaml", strings.NewReader(text))
		if len(ds.Errors()) > 0 {
			t.Fatal(ds)
		}
		return s
	}
	rule := func(i, timeout int) string {
		return fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v%d}\nspec: {hosts: [s%d.example.com], http: [{route: [{destination: {host: s%d.example.com}}], timeout: %ds}]}", i, i, i, timeout)
	}
	for i := range 200 {
		in = append(in, add(fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: s%d}\nspec: {hosts: [s%d.example.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 10.0.0.1}]}", i, i)), add(rule(i, 1)))
	}
	x := &Incremental{}
	set, _ := istio.Merge(in...)
	before, _ := x.World(Inputs{Set: set})
	in[5*2+1] = add(rule(5, 2))
	set, _ = istio.Merge(in...)
	after, _ := x.World(Inputs{Set: set})
	if x.steps != 1 {
		t.Fatal("everything was compiled for one rule")
	}
	if &before.Services[0] != &after.Services[0] {
		t.Error("the list of services is another one")
	}
	changed := 0
	for i := range after.Rules {
		if before.Rules[i] != after.Rules[i] {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("%d rules are other ones, want 1", changed)
	}
}
