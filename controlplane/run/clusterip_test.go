package run

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
)

func services(t *testing.T, yaml string) istio.Set {
	t.Helper()
	set, ds := istio.Decode("services.yaml", strings.NewReader(yaml))
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	return set
}

// A Service without an address is given one, and keeps it; what has one, or wants none, is left alone.
func TestClusterIPs(t *testing.T) {
	zone := netip.MustParsePrefix("10.96.0.0/22")
	c := clusterIPs{zone: zone}
	set := services(t, `
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: fixed}
spec: {clusterIP: 10.96.1.7, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.com}
`)
	addresses := func(s istio.Set) map[string]string {
		out := map[string]string{}
		for _, o := range s.Services {
			out[o.Name] = o.Spec.Spec.ClusterIP
		}
		return out
	}
	first := c.deal(set)
	got := addresses(first)
	ip, err := netip.ParseAddr(got["plain"])
	if err != nil || !zone.Contains(ip) || got["headless"] != "None" || got["fixed"] != "10.96.1.7" || got["elsewhere"] != "" {
		t.Fatalf("got %v", got)
	}
	if addresses(set)["plain"] != "" {
		t.Error("what was read is changed")
	}
	for i, o := range c.deal(set).Services {
		if o != first.Services[i] {
			t.Errorf("%s is another object, although nothing has changed", o.Name)
		}
	}
	c.deal(istio.Set{})
	if again := addresses(c.deal(set)); again["plain"] != got["plain"] {
		t.Errorf("a Service that came back has %s, before %s", again["plain"], got["plain"])
	}
	// As many as there is room for, and not one twice.
	var many strings.Builder
	for i := range 800 {
		fmt.Fprintf(&many, "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 80}]}\n", i)
	}
	seen := map[string]bool{}
	given := 0
	for _, o := range c.deal(services(t, many.String())).Services {
		if ip := o.Spec.Spec.ClusterIP; ip != "" {
			if seen[ip] {
				t.Fatalf("%s is given twice", ip)
			}
			seen[ip] = true
			given++
		}
	}
	if want := 1024 - reservedIPs - 1; given != want {
		t.Errorf("%d of 800 have an address, and there is room for %d", given, want)
	}
}
