//go:build linux

package netnstest

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// DNS answers at the node's port 53, over UDP, with the IPv4 addresses of names, each with its domain and no dot at the end.
func (n *Network) DNS(t *testing.T, names map[string]string) {
	t.Helper()
	var conn net.PacketConn
	if err := n.Node.Inside(func() (err error) { conn, err = net.ListenPacket("udp", Gateway+":53"); return err }); err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		for _, x := range q.Question {
			ip := net.ParseIP(names[strings.ToLower(strings.TrimSuffix(x.Name, "."))])
			switch {
			case ip == nil:
				m.Rcode = dns.RcodeNameError
			case x.Qtype == dns.TypeA:
				m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: x.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: ip})
			}
		}
		_ = w.WriteMsg(m)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
}
