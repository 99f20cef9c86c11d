package xdsgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func lists(r *Resources) map[string][]*Resource {
	return map[string][]*Resource{
		"clusters": r.Clusters, "endpoints": r.Endpoints, "listeners": r.Listeners,
		"routes": r.Routes, "hosts": r.VirtualHosts, "inline": r.InlineRoutes,
	}
}

// valid checks a message and every Any inside it against Envoy's own rules.
func valid(t *testing.T, name string, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("%s: %T: %v", name, m, err)
		}
	}
	walk(m.ProtoReflect(), func(in protoreflect.Message) {
		packed, ok := in.Interface().(*anypb.Any)
		if !ok {
			return
		}
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		valid(t, name, inner)
	})
}

func walk(m protoreflect.Message, visit func(protoreflect.Message)) {
	visit(m)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool { walk(v.Message(), visit); return true })
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				walk(v.List().Get(i).Message(), visit)
			}
		case f.Message() != nil && !f.IsMap():
			walk(v.Message(), visit)
		}
		return true
	})
}

func TestEveryResourceIsValid(t *testing.T) {
	for _, v := range []*mesh.View{sidecarView(), gatewayView()} {
		for kind, list := range lists(build(t, v)) {
			if !slices.IsSortedFunc(list, func(a, b *Resource) int { return cmpString(a.Name, b.Name) }) {
				t.Errorf("%s are not sorted", kind)
			}
			for _, r := range list {
				m, err := r.Body.UnmarshalNew()
				if err != nil {
					t.Fatal(err)
				}
				if r.Type != r.Body.TypeUrl {
					t.Errorf("%s: type %s, body %s", r.Name, r.Type, r.Body.TypeUrl)
				}
				valid(t, kind+" "+r.Name, m)
			}
		}
	}
}

func cmpString(a, b string) int { return bytes.Compare([]byte(a), []byte(b)) }

// copied is an equal view that shares no part with v.
func copied(t testing.TB, v *mesh.View) *mesh.View {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out := &mesh.View{}
	if err := json.Unmarshal(raw, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestEqualViewsGiveEqualVersions: a restart, or a second replica, has nothing to push.
func TestEqualViewsGiveEqualVersions(t *testing.T) {
	a, b := lists(build(t, sidecarView())), lists(build(t, sidecarView()))
	for kind := range a {
		if len(a[kind]) == 0 || len(a[kind]) != len(b[kind]) {
			t.Fatalf("%s: %d and %d", kind, len(a[kind]), len(b[kind]))
		}
		for i, r := range a[kind] {
			if o := b[kind][i]; r.Name != o.Name || r.Version != o.Version || !bytes.Equal(r.Body.Value, o.Body.Value) {
				t.Errorf("%s %s differs between two builds", kind, r.Name)
			}
		}
	}
}

// TestBuilderSharesParts: what two proxies see alike is one Resource, whether they share the part or an equal one.
func TestBuilderSharesParts(t *testing.T) {
	b := NewBuilder()
	v := sidecarView()
	first, err := b.Build(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []*mesh.View{v, copied(t, v)} {
		again, err := b.Build(other)
		if err != nil {
			t.Fatal(err)
		}
		for kind, list := range lists(again) {
			for i, r := range list {
				if lists(first)[kind][i].Body != r.Body {
					t.Errorf("%s %s was built twice", kind, r.Name)
				}
			}
		}
	}
}

// TestOneHostChanged: only the changed virtual host is new to a delta client.
func TestOneHostChanged(t *testing.T) {
	v := sidecarView()
	before := build(t, v)
	w := copied(t, v)
	w.Tables[0].VirtualHosts[0].Routes[2].Clusters[0].Weight = 80
	after := build(t, w)
	var changed []string
	for kind, list := range lists(after) {
		for i, r := range list {
			if lists(before)[kind][i].Version != r.Version {
				changed = append(changed, kind+" "+r.Name)
			}
		}
	}
	slices.Sort(changed)
	want := []string{"hosts 9080/reviews.default.svc.cluster.local:9080", "inline 9080"}
	if !slices.Equal(changed, want) {
		t.Errorf("changed %q, want %q", changed, want)
	}
}

// TestContextIsPartOfTheKey: one part gives different resources to proxies of different kinds.
func TestContextIsPartOfTheKey(t *testing.T) {
	b := NewBuilder()
	v := sidecarView()
	with, err := b.Build(v)
	if err != nil {
		t.Fatal(err)
	}
	plain := *v
	plain.Node.Module = false
	plain.Settings.ConnectTimeout = time.Second
	without, err := b.Build(&plain)
	if err != nil {
		t.Fatal(err)
	}
	if with.VirtualHosts[0].Version == without.VirtualHosts[0].Version {
		t.Error("a proxy without the module was given the filter's configuration")
	}
	if with.Clusters[0].Version == without.Clusters[0].Version {
		t.Error("the connect timeout of the mesh is not in the cluster")
	}
}

// TestBuilderForgets: the memory holds no more than what somebody uses.
func TestBuilderForgets(t *testing.T) {
	b := NewBuilder()
	for i := range 50 {
		v := gatewayView()
		v.Tables[0].VirtualHosts[0].Domains = []string{fmt.Sprintf("shop%d.example.com", i)}
		if _, err := b.Build(v); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := b.Build(gatewayView())
	if err != nil {
		t.Fatal(err)
	}
	limit := 2 * (len(kept.Clusters) + len(kept.Endpoints) + 10)
	envoytest.Await(t, 20*time.Second, "the builder to forget", func() bool { runtime.GC(); return b.Len() < limit })
	runtime.KeepAlive(kept)
}

func TestBuildDeltaLeavesOutInline(t *testing.T) {
	v := sidecarView()
	full := build(t, v)
	got, err := NewBuilder().BuildDelta(v)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.InlineRoutes) != 0 || len(got.Routes) != len(full.Routes) || len(got.VirtualHosts) != len(full.VirtualHosts) {
		t.Errorf("%d inline, %d routes, %d hosts", len(got.InlineRoutes), len(got.Routes), len(got.VirtualHosts))
	}
}

// TestOrdering: what the server must send first, and whom to blame.
func TestOrdering(t *testing.T) {
	res := build(t, sidecarView())
	host := named(res.VirtualHosts, "9080/reviews.default.svc.cluster.local:9080")
	if want := []string{reviewsV1, reviewsV2}; !slices.Equal(host.Clusters, want) {
		t.Errorf("clusters %q, want %q", host.Clusters, want)
	}
	if host.Table != "9080" || len(host.Origins) != 1 || host.Origins[0] != reviewsRule {
		t.Errorf("table %q, origins %v", host.Table, host.Origins)
	}
	rich := named(res.VirtualHosts, "9080/rich:9080")
	if want := []string{reviewsV2, reviews}; !slices.Equal(rich.Clusters, want) {
		t.Errorf("clusters %q, want %q: missing ones and mirrors of nothing are not waited for", rich.Clusters, want)
	}
	in := named(res.Listeners, "virtualInbound")
	if want := []string{"InboundPassthroughCluster", "inbound|9080||"}; !slices.Equal(in.Clusters, want) || in.Table != "inbound|9080||" {
		t.Errorf("clusters %q, want %q; table %q", in.Clusters, want, in.Table)
	}
	frame := named(res.Routes, "9080")
	if want := []string{"PassthroughCluster"}; !slices.Equal(frame.Clusters, want) {
		t.Errorf("clusters %q, want %q", frame.Clusters, want)
	}
	for _, r := range res.Endpoints {
		if r.Name == "through" {
			t.Error("endpoints for a cluster that passes through")
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	v := sidecarView()
	for i := range 1000 {
		h := *v.Tables[0].VirtualHosts[1]
		h.Name = fmt.Sprintf("svc%d:9080", i)
		h.Domains = []string{fmt.Sprintf("svc%d", i)}
		v.Tables[0].VirtualHosts = append(v.Tables[0].VirtualHosts, &h)
	}
	for name, next := range map[string]func() *mesh.View{
		"same parts":  func() *mesh.View { return v },
		"equal parts": func() *mesh.View { return copied(b, v) },
	} {
		b.Run(name, func(b *testing.B) {
			builder := NewBuilder()
			keep, err := builder.BuildDelta(v)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				b.StopTimer()
				in := next()
				b.StartTimer()
				if _, err := builder.BuildDelta(in); err != nil {
					b.Fatal(err)
				}
			}
			runtime.KeepAlive(keep)
		})
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewBuilder().BuildDelta(v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
