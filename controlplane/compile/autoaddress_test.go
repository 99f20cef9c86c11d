package compile_test

import (
	"fmt"
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	networking "istio.io/api/networking/v1alpha3"
)

// given are the addresses, IPv4 and IPv6, that some of many hosts are given.
func given(t *testing.T, wanted func(i int) bool) map[string][]string {
	t.Helper()
	var set istio.Set
	for i := range 3000 {
		if !wanted(i) {
			continue
		}
		o := &istio.Object[*networking.ServiceEntry]{Spec: &networking.ServiceEntry{
			Hosts: []string{fmt.Sprintf("h%d.example.com", i)}, Resolution: networking.ServiceEntry_DNS,
			Ports: []*networking.ServicePort{{Number: 5432, Name: "tcp", Protocol: "TCP"}},
		}}
		o.Ref = istio.Ref{Kind: "ServiceEntry", Namespace: "default", Name: fmt.Sprintf("e%d", i)}
		set.ServiceEntries = append(set.ServiceEntries, o)
	}
	w, diags := compile.World(compile.Inputs{Set: set})
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	out := map[string][]string{}
	for _, s := range w.Services {
		out[s.Hostname] = s.Auto
	}
	return out
}

// TestAutoAddresses: every host has addresses of its own, and keeps them when others go, but for the few that stood in their way.
func TestAutoAddresses(t *testing.T) {
	all := given(t, func(int) bool { return true })
	seen := map[string]string{}
	for host, addresses := range all {
		if len(addresses) != 2 {
			t.Fatalf("%s has %v", host, addresses)
		}
		for _, a := range addresses {
			if other := seen[a]; other != "" {
				t.Fatalf("%s and %s both have %s", host, other, a)
			}
			seen[a] = host
		}
	}
	moved := 0
	for host, addresses := range given(t, func(i int) bool { return i%2 == 0 }) {
		if addresses[0] != all[host][0] {
			moved++
		}
	}
	if moved > 1500/20 {
		t.Errorf("%d of 1500 hosts moved when as many others went", moved)
	}
}
