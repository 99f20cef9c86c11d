package mesh

import (
	"slices"
	"testing"
)

func TestHostCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "c.b", false},
		{"*", "a.b", true},
		{"*", "*.b", true},
		{"*.b", "a.b", true},
		{"*.b", "x.a.b", true},
		{"*.b", "b", false},
		{"*.b", ".b", false},
		{"*.b", "*.a.b", true},
		{"*.a.b", "*.b", false},
		{"a.b", "*.b", false},
	} {
		if got := HostCovers(c.pattern, c.host); got != c.want {
			t.Errorf("HostCovers(%q, %q) is %v, want %v", c.pattern, c.host, got, c.want)
		}
	}
}

func TestHostIntersection(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"*", "a.b", "a.b"}, {"a.b", "*.b", "a.b"}, {"*.b", "*.a.b", "*.a.b"}, {"a.b", "c.b", ""}, {"*.b", "*.c", ""},
	} {
		got, ok := HostIntersection(c.a, c.b)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("HostIntersection(%q, %q) is %q, %v, want %q", c.a, c.b, got, ok, c.want)
		}
	}
}

func TestHostLess(t *testing.T) {
	hosts := []string{"*", "b.c", "*.c", "*.b.c", "a.c"}
	slices.SortFunc(hosts, func(a, b string) int {
		if HostLess(a, b) {
			return -1
		}
		return 1
	})
	if want := []string{"a.c", "b.c", "*.b.c", "*.c", "*"}; !slices.Equal(hosts, want) {
		t.Errorf("order is %v, want %v", hosts, want)
	}
}

func TestTrafficForPort(t *testing.T) {
	own := &Traffic{TLS: &ClientTLS{Mode: "DISABLE"}}
	all := &Traffic{LoadBalancer: &LoadBalancer{Kind: "RANDOM"}, Ports: map[uint32]*Traffic{80: own}}
	if got := all.ForPort(80); got != own {
		t.Errorf("port 80 has %+v, want its own settings wholesale", got)
	}
	if got := all.ForPort(81); got.LoadBalancer.Kind != "RANDOM" || got.Ports != nil {
		t.Errorf("port 81 has %+v, want the host's without its ports", got)
	}
	if got := (*Traffic)(nil).ForPort(80); got != nil {
		t.Errorf("no policy gives %+v, want none", got)
	}
}
