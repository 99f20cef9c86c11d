//go:build linux

package netnstest

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// DNS answers at the node's port 53, over UDP, with the addresses of names, each with its domain and no dot at the end.
func (n *Network) DNS(t *testing.T, names map[string][]string) {
	t.Helper()
	for _, at := range []string{Gateway, Gateway6} {
		n.dns(t, net.JoinHostPort(at, "53"), names)
	}
}

func (n *Network) dns(t *testing.T, at string, names map[string][]string) {
	t.Helper()
	var conn net.PacketConn
	if err := n.Node.Inside(func() (err error) { conn, err = net.ListenPacket("udp", at); return err }); err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, x := range q.Question {
			all, known := names[strings.ToLower(strings.TrimSuffix(x.Name, "."))]
			if !known {
				m.Rcode = dns.RcodeNameError
			}
			for _, a := range all {
				hdr := dns.RR_Header{Name: x.Name, Rrtype: x.Qtype, Class: dns.ClassINET, Ttl: 1}
				switch {
				case x.Qtype == dns.TypeA && !is6(a):
					m.Answer = append(m.Answer, &dns.A{Hdr: hdr, A: net.ParseIP(a)})
				case x.Qtype == dns.TypeAAAA && is6(a):
					m.Answer = append(m.Answer, &dns.AAAA{Hdr: hdr, AAAA: net.ParseIP(a)})
				}
			}
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
}
