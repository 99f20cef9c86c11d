package dns

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mizzen-mesh/mizzen/controlplane/nds"
)

// serve runs a server until the test ends, and returns its address.
func serve(t *testing.T, o Options, names nds.Table) (*Server, string) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	s := New(o)
	if names != nil {
		s.Set(names)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, packets, stream) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, packets.LocalAddr().String()
}

// ask returns the answer's code and its addresses.
func ask(t *testing.T, server, name string, kind uint16) string {
	t.Helper()
	answer, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), server)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{dns.RcodeToString[answer.Rcode]}
	for _, rr := range answer.Answer {
		switch r := rr.(type) {
		case *dns.A:
			out = append(out, r.A.String())
		case *dns.AAAA:
			out = append(out, r.AAAA.String())
		}
	}
	return strings.Join(out, " ")
}

func TestServer(t *testing.T) {
	_, upstream := serve(t, Options{}, nds.Table{"elsewhere.example": {Addresses: []string{"192.0.2.7"}}})
	s, server := serve(t, Options{Namespace: "shop", Upstreams: []string{upstream}, Suffix: "cluster.local"}, nds.Table{
		"reviews.shop.svc.cluster.local": {Addresses: []string{"10.96.1.2", "fd00::2"}, Registry: nds.Kubernetes, ShortName: "reviews", Namespace: "shop"},
		"other.far.svc.cluster.local":    {Addresses: []string{"10.96.1.3"}, Registry: nds.Kubernetes, ShortName: "other", Namespace: "far"},
		"api.example":                    {Addresses: []string{"240.240.0.1"}},
		"*.wild.example":                 {Addresses: []string{"240.240.0.2"}},
	})
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"reviews", dns.TypeA, "NOERROR 10.96.1.2"},
		{"REVIEWS.shop", dns.TypeA, "NOERROR 10.96.1.2"},
		{"reviews.shop.svc", dns.TypeAAAA, "NOERROR fd00::2"},
		{"reviews.shop.svc.cluster.local", dns.TypeMX, "NOERROR"},
		{"other.far", dns.TypeA, "NOERROR 10.96.1.3"},
		{"other.far", dns.TypeAAAA, "NOERROR"},
		{"other", dns.TypeA, "NXDOMAIN"}, // of another namespace; upstream does not know it
		{"none.shop.svc.cluster.local", dns.TypeA, "NXDOMAIN"},
		{"api.example", dns.TypeA, "NOERROR 240.240.0.1"},
		{"a.b.wild.example", dns.TypeA, "NOERROR 240.240.0.2"},
		{"wild.example", dns.TypeA, "NXDOMAIN"},
		{"elsewhere.example", dns.TypeA, "NOERROR 192.0.2.7"},
	} {
		if got := ask(t, server, c.name, c.kind); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	ips, err := s.Lookup(context.Background(), "other.far", "shop", "cluster.local")
	if err != nil || len(ips) != 1 || ips[0].String() != "10.96.1.3" {
		t.Errorf("looked up %v (%v)", ips, err)
	}
	if _, err := s.Lookup(context.Background(), "nobody", "shop", "cluster.local"); err == nil {
		t.Error("a name that nobody has was found")
	}
	_, early := serve(t, Options{}, nil)
	if got := ask(t, early, "reviews", dns.TypeA); got != "SERVFAIL" {
		t.Errorf("before the first table: %s", got)
	}
}
