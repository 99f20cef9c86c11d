package loopback

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func reserveT(t *testing.T) *Block {
	t.Helper()
	b, err := Reserve()
	if err != nil {
		t.Skipf("no loopback block: %v", err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestAddressesAreStableAndReused(t *testing.T) {
	b := reserveT(t)
	take := func(key string) Pair {
		t.Helper()
		p, err := b.Take(key, []uint32{15000, 15001})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	one, two := take("default/a-0"), take("default/b-0")
	if one == two || !strings.HasPrefix(one.Sidecar, "127.1.") || !strings.HasPrefix(one.Application, "127.2.") ||
		strings.TrimPrefix(one.Sidecar, "127.1.") != strings.TrimPrefix(one.Application, "127.2.") {
		t.Errorf("got %v and %v", one, two)
	}
	if take("default/a-0") != one {
		t.Error("the same workload got other addresses")
	}
	b.Release("default/a-0")
	if take("default/b-0") != two || take("default/c-0") != one {
		t.Error("b moved, or a's address was not given again")
	}
}

func TestTwoMeshesShareNothing(t *testing.T) {
	a, b := reserveT(t), reserveT(t)
	pa, _ := a.Take("x", nil)
	pb, _ := b.Take("x", nil)
	if pa == pb {
		t.Errorf("both have %v", pa)
	}
}

func TestTakenPortIsPassedOver(t *testing.T) {
	b := reserveT(t)
	first := b.pair(0)
	l, err := net.Listen("tcp", first.Sidecar+":15001")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if p, err := b.Take("x", []uint32{15000, 15001}); err != nil || p == first {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestEveryPairIsALoopbackAddress(t *testing.T) {
	seen := map[string]bool{}
	for base := 0; base < 256; base += octets {
		b := &Block{base: base}
		for i := range perMesh {
			p := b.pair(i)
			a, err := netip.ParseAddr(p.Sidecar)
			if err != nil || !a.IsLoopback() || seen[p.Sidecar] || a.As4()[3] == 0 || a.As4()[3] >= reserve {
				t.Fatalf("block %d, address %d: %s", base, i, p.Sidecar)
			}
			seen[p.Sidecar] = true
		}
	}
}

func TestChoose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := uint32(l.Addr().(*net.TCPAddr).Port)
	if p, err := Choose("127.0.0.1", taken); err != nil || p == taken || p == 0 {
		t.Errorf("got %d, %v", p, err)
	}
}
