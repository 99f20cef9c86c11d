package dir

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

func routeRule(name, version string, precedence int) string {
	return fmt.Sprintf("apiVersion: config.istio.io/v1alpha2\nkind: RouteRule\nmetadata: {name: %s}\nspec:\n  destination: {name: reviews}\n  precedence: %d\n  route: [{labels: {version: %s}}]\n",
		name, precedence, version)
}

// TestOldKinds: RouteRules of several files are one VirtualService, a broken edit of one leaves it as it was, and what a change does not
// bear on stays the same value.
func TestOldKinds(t *testing.T) {
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yaml"), filepath.Join(dir, "c.yaml")
	write(t, a, routeRule("a", "v1", 1))
	write(t, b, routeRule("b", "v2", 2))
	write(t, c, strings.ReplaceAll(routeRule("c", "v1", 1), "reviews", "ratings"))
	s := newState([]string{dir}, nil, time.Now)
	if _, err := s.scan(func(string) {}, nil, false); err != nil {
		t.Fatal(err)
	}
	var last istio.Set
	want := func(what, routes, codes string) {
		t.Helper()
		set, diags := s.snapshot()
		var got []string
		for _, o := range set.VirtualServices {
			got = append(got, o.Name+":")
			for _, r := range o.Spec.GetHttp() {
				got = append(got, r.GetName()+"="+r.GetRoute()[0].GetDestination().GetSubset())
			}
		}
		var told []string
		for _, d := range diags {
			if d.Code != istio.CodeUnreachable { // what the first rule leaves over for the second
				told = append(told, d.Code)
			}
		}
		if g := strings.Join(got, " "); g != routes {
			t.Errorf("%s: got %q, want %q", what, g, routes)
		}
		if g := strings.Join(told, " "); g != codes {
			t.Errorf("%s: told %q, want %q", what, g, codes)
		}
		if len(last.VirtualServices) > 0 && set.VirtualServices[0] != last.VirtualServices[0] {
			t.Errorf("%s: the VirtualService of ratings is another value", what)
		}
		last = set
	}
	edit := func(name, text string) {
		write(t, name, text)
		if !s.touch(map[string]bool{name: true}) {
			t.Fatalf("%s needs a scan", name)
		}
	}
	want("at first", "ratings: c=v1 reviews: b=v2 a=v1", "IST0002 IST0002 IST0002")
	edit(a, routeRule("a", "v3", 3))
	want("an edit", "ratings: c=v1 reviews: a=v3 b=v2", "IST0002 IST0002 IST0002")
	edit(a, strings.Replace(routeRule("a", "v4", 3), "route:", "routes:", 1))
	want("a broken edit", "ratings: c=v1 reviews: a=v3 b=v2", "IST0002 IST0106 MZ0401 IST0002 IST0002")
	edit(a, "")
	want("gone", "ratings: c=v1 reviews: b=v2", "IST0002 IST0002")
}
