package dns

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/mizzen-mesh/mizzen/controlplane/nds"
)

// Options of a Server.
type Options struct {
	// Namespace of the pod.
	Namespace string
	// Upstreams are the name servers, "IP:port", that are asked in turn for what is not of the mesh. None: there is no such name.
	Upstreams []string
	// Suffix, if not "", ends names that only the mesh may know ("cluster.local"): an upstream is not asked for them.
	Suffix string
	// Dial connects to an upstream; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // not nil
}

// Times of a Server.
const (
	// ttl of answers, as Istio's: names change with the mesh.
	ttl = 30 * time.Second
	// patience with one upstream.
	patience = 5 * time.Second
)

// Server answers DNS questions. Safe for concurrent use.
type Server struct {
	o     Options
	names atomic.Pointer[names] // nil before the first table
}

// New makes a server that knows no name yet.
func New(o Options) *Server {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	return &Server{o: o}
}

// Set replaces the names of the mesh.
func (s *Server) Set(t nds.Table) { s.names.Store(newNames(t, s.o.Namespace)) }

// Known tells whether a table was set.
func (s *Server) Known() bool { return s.names.Load() != nil }

// Serve answers what comes to two sockets, until ctx is done; then they are closed.
func (s *Server) Serve(ctx context.Context, packets net.PacketConn, stream net.Listener) error {
	servers := []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}}
	done := make(chan error, len(servers))
	for _, x := range servers {
		go func() { done <- x.ActivateAndServe() }()
	}
	stop := context.AfterFunc(ctx, func() { _, _ = packets.Close(), stream.Close() })
	defer stop()
	var errs []error
	for range servers {
		if err := <-done; ctx.Err() == nil {
			errs = append(errs, err)
			_, _ = packets.Close(), stream.Close()
		}
	}
	return errors.Join(errs...)
}

// ServeDNS answers one question: it implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	answer := s.answer(context.Background(), q, w.RemoteAddr().Network())
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		answer.Truncate(size)
	}
	if err := w.WriteMsg(answer); err != nil {
		s.o.Log.Debug("an answer could not be sent", "to", w.RemoteAddr(), "error", err)
	}
}

func (s *Server) answer(ctx context.Context, q *dns.Msg, network string) *dns.Msg {
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)
	}
	name := q.Question[0].Name
	n := s.names.Load()
	if n != nil {
		if ips, ok := n.find(name); ok {
			return local(q, ips)
		}
	}
	switch ours := s.o.Suffix != "" && strings.HasSuffix("."+canonical(name), "."+s.o.Suffix); {
	case !ours && len(s.o.Upstreams) > 0:
		return s.ask(ctx, q, network)
	case n == nil: // it may be known in a moment
		return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeNameError)
}

// local answers with addresses of the mesh, in random order, so that clients that take the first spread over them.
func local(q *dns.Msg, ips []netip.Addr) *dns.Msg {
	out := new(dns.Msg).SetReply(q)
	out.Authoritative, out.RecursionAvailable = true, true
	rand.Shuffle(len(ips), func(i, j int) { ips[i], ips[j] = ips[j], ips[i] })
	for _, ip := range ips {
		h := dns.RR_Header{Name: q.Question[0].Name, Class: dns.ClassINET, Ttl: uint32(ttl / time.Second)}
		switch {
		case ip.Is4() && q.Question[0].Qtype == dns.TypeA:
			h.Rrtype = dns.TypeA
			out.Answer = append(out.Answer, &dns.A{Hdr: h, A: ip.AsSlice()})
		case ip.Is6() && q.Question[0].Qtype == dns.TypeAAAA:
			h.Rrtype = dns.TypeAAAA
			out.Answer = append(out.Answer, &dns.AAAA{Hdr: h, AAAA: ip.AsSlice()})
		}
	}
	return out
}

// ask passes a question on. The first upstream that answers counts.
func (s *Server) ask(ctx context.Context, q *dns.Msg, network string) *dns.Msg {
	for _, upstream := range s.o.Upstreams {
		answer, err := s.askOne(ctx, q, network, upstream)
		if err == nil {
			answer.Id = q.Id
			return answer
		}
		s.o.Log.Debug("a name server does not answer", "server", upstream, "name", q.Question[0].Name, "error", err)
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}

func (s *Server) askOne(ctx context.Context, q *dns.Msg, network, upstream string) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := s.o.Dial(ctx, network, upstream)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := &dns.Client{Net: network, Timeout: patience}
	answer, _, err := c.ExchangeWithConnContext(ctx, q.Copy(), &dns.Conn{Conn: conn, UDPSize: dns.MaxMsgSize})
	return answer, err
}

// Lookup finds the IPv4 addresses of a name as a program in a pod of a namespace would: with the search domains of Kubernetes.
func (s *Server) Lookup(ctx context.Context, name, namespace, domain string) ([]netip.Addr, error) {
	forms := []string{name}
	if !strings.HasSuffix(name, ".") {
		search := []string{name + "." + namespace + ".svc." + domain, name + ".svc." + domain, name + "." + domain}
		if strings.Count(name, ".") < 5 { // ndots
			forms = append(search, name)
		} else {
			forms = append(forms, search...)
		}
	}
	for _, f := range forms {
		q := new(dns.Msg).SetQuestion(dns.Fqdn(f), dns.TypeA)
		answer := s.answer(ctx, q, "udp")
		if answer.Rcode == dns.RcodeServerFailure {
			return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
		}
		var out []netip.Addr
		for _, rr := range answer.Answer {
			if a, ok := rr.(*dns.A); ok {
				if ip, ok := netip.AddrFromSlice(a.A); ok {
					out = append(out, ip.Unmap())
				}
			}
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// Resolvers reads the name servers, "IP:53", out of the text of a resolv.conf.
func Resolvers(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if w := strings.Fields(line); len(w) > 1 && w[0] == "nameserver" {
			out = append(out, net.JoinHostPort(w[1], "53"))
		}
	}
	return out
}
