package overlay

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/dir"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

const reviews = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
`

const ratings = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec: {host: ratings}
`

// mesh is a state directory whose user's files hold reviews.
func mesh(t *testing.T) *state.State {
	t.Helper()
	root := t.TempDir()
	user := filepath.Join(root, "user.yaml")
	if err := os.WriteFile(user, []byte(reviews), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(state.AppliedDir(root), 0o700); err != nil {
		t.Fatal(err)
	}
	return &state.State{Dir: root, Files: []string{user}, Namespace: "default"}
}

func decodeT(t *testing.T, yaml string) istio.Set {
	t.Helper()
	set, diags := istio.Decode("x.yaml", strings.NewReader(yaml))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	return set
}

func open(t *testing.T, s *state.State) *Overlay {
	t.Helper()
	o, err := Open(s, func() time.Time { return time.Unix(1_800_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func lines(rs []Result) string {
	var out []string
	for _, r := range rs {
		out = append(out, r.String())
	}
	return strings.Join(out, "; ")
}

// inForce reads the configuration as the control plane does.
func inForce(t *testing.T, s *state.State) istio.Set {
	t.Helper()
	set, diags, err := dir.Load(append(s.Files, state.AppliedDir(s.Dir)))
	if err != nil || len(diags) > 0 {
		t.Fatal(err, diags)
	}
	return set
}

func TestApply(t *testing.T) {
	s := mesh(t)
	changed := strings.Replace(reviews, "v1}", "v2}", 1)
	for _, c := range []struct{ yaml, want string }{
		{reviews, "virtualservice.networking.istio.io/reviews unchanged"},
		{changed, "virtualservice.networking.istio.io/reviews configured"},
		{changed, "virtualservice.networking.istio.io/reviews unchanged"},
		{ratings, "destinationrule.networking.istio.io/ratings created"},
		{ratings, "destinationrule.networking.istio.io/ratings unchanged"},
		{reviews + "---\n" + ratings, "virtualservice.networking.istio.io/reviews configured; destinationrule.networking.istio.io/ratings unchanged"},
	} {
		o := open(t, s)
		got, revision, err := o.Apply(decodeT(t, c.yaml))
		o.Close()
		if err != nil || lines(got) != c.want {
			t.Errorf("got %q, %v, want %q", lines(got), err, c.want)
		}
		if (revision == "") != !strings.Contains(c.want, "created") && !strings.Contains(c.want, "configured") {
			t.Errorf("%s: revision %q", c.want, revision)
		}
		if revision != "" && RevisionOf(inForce(t, s)) != revision {
			t.Errorf("%s: revision %q cannot be read back", c.want, revision)
		}
	}
	set := inForce(t, s)
	if at := set.DestinationRules[0].CreationTimestamp; at.Unix() != 1_800_000_000 {
		t.Errorf("created at %v", at)
	}
	if !set.VirtualServices[0].CreationTimestamp.IsZero() {
		t.Error("an object of the user's files got a time of creation: its precedence would change")
	}
}

func TestDelete(t *testing.T) {
	s := mesh(t)
	o := open(t, s)
	if _, _, err := o.Apply(decodeT(t, ratings)); err != nil {
		t.Fatal(err)
	}
	o.Close()
	o = open(t, s)
	refs := []istio.Ref{{Kind: "VirtualService", Namespace: "default", Name: "reviews"}, {Kind: "DestinationRule", Namespace: "default", Name: "ratings"}}
	got, revision, err := o.Delete(append([]istio.Ref{{Kind: "Gateway", Namespace: "default", Name: "none"}}, refs...))
	o.Close()
	if err == nil || !strings.Contains(err.Error(), "gateway.networking.istio.io none: not found") || revision == "" || len(got) != 2 || got[0].Action != "deleted" {
		t.Fatalf("got %v, %q, %v", got, revision, err)
	}
	if set := inForce(t, s); len(set.VirtualServices)+len(set.DestinationRules) != 0 {
		t.Errorf("still there: %v %v", set.VirtualServices, set.DestinationRules)
	}
	o = open(t, s)
	if _, revision, err := o.Delete(refs[:1]); err == nil || revision != "" || !strings.Contains(err.Error(), "virtualservice.networking.istio.io reviews: not found in namespace default") {
		t.Errorf("second delete: %v", err)
	}
	got, _, err = o.Apply(decodeT(t, reviews))
	if err != nil || lines(got) != "virtualservice.networking.istio.io/reviews created" || len(inForce(t, s).VirtualServices) != 1 {
		t.Errorf("applied again: %v, %v", got, err)
	}
}

func TestAwait(t *testing.T) {
	s := mesh(t)
	if err := s.Write(filepath.Join(s.Dir, state.File)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Await(ctx, s, "rb"); err == nil || !strings.Contains(err.Error(), "proxy-status") {
		t.Errorf("not acknowledged: %v", err)
	}
	for _, revision := range []string{"rb", "rc"} { // its own, or a later one
		s.Revision = revision
		if err := s.Write(filepath.Join(s.Dir, state.File)); err != nil {
			t.Fatal(err)
		}
		if err := Await(t.Context(), s, "rb"); err != nil {
			t.Errorf("%s: %v", revision, err)
		}
	}
	if err := os.Remove(filepath.Join(s.Dir, state.File)); err != nil {
		t.Fatal(err)
	}
	if err := Await(t.Context(), s, "rb"); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("mesh gone: %v", err)
	}
}

func TestMarkerIsReadFirstAndHidden(t *testing.T) {
	s := mesh(t)
	o := open(t, s)
	_, revision, err := o.Apply(decodeT(t, ratings))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(state.AppliedDir(s.Dir))
	if err != nil || entries[0].Name() != markerFile {
		t.Errorf("first is %v: whoever reads the marker must read what was written before it", entries[0].Name())
	}
	if rev, ok := IsMarker(markerNamespace + "/" + revision); !ok || rev != revision {
		t.Errorf("got %q, %v", rev, ok)
	}
	o.Close()
	for _, m := range func() []*istio.Meta { set := open(t, s).Current(); return set.Metas() }() {
		if m.Kind == "WorkloadEntry" {
			t.Errorf("the marker shows: %v", m.Ref)
		}
	}
}

func TestWithNamespace(t *testing.T) {
	set := WithNamespace(decodeT(t, reviews+"---\n"+strings.Replace(ratings, "name: ratings", "name: ratings, namespace: default", 1)), "shop")
	if set.VirtualServices[0].Namespace != "shop" || set.DestinationRules[0].Namespace != "default" {
		t.Errorf("got %v and %v", set.VirtualServices[0].Ref, set.DestinationRules[0].Ref)
	}
	raw, err := Explicit(&set.VirtualServices[0].Meta)
	if err != nil || !strings.Contains(string(raw), `"namespace":"shop"`) {
		t.Errorf("got %s, %v", raw, err)
	}
}
