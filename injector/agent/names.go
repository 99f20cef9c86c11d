package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"

	"google.golang.org/grpc"

	"github.com/mizzen-mesh/mizzen/controlplane/bootstrap"
	"github.com/mizzen-mesh/mizzen/injector/dns"
)

// dnsPort is where the rules of interception lead the pod's questions to, as Istio's.
const dnsPort = 15053

// capturesDNS tells whether the rules do, which read the same variable (injector/iptables).
func (s *settings) capturesDNS() bool {
	said, _ := s.node.Metadata["DNS_CAPTURE"].(string)
	yes, err := strconv.ParseBool(said)
	return err == nil && yes
}

// serveNames begins to answer the pod's questions, with the names that its proxy may know; others go to the pod's own name servers.
func (a *Agent) serveNames(life context.Context, control grpc.ClientConnInterface, background func(func())) error {
	if a.o.Gateway || !a.set.capturesDNS() {
		return nil
	}
	node, err := bootstrap.Node(a.set.node)
	if err != nil {
		return err
	}
	resolv, err := os.ReadFile(a.o.Paths.Resolv)
	if err != nil {
		return fmt.Errorf("find name servers: %w", err)
	}
	namespace, _ := a.set.node.Metadata["NAMESPACE"].(string)
	s := dns.New(dns.Options{Namespace: namespace, Upstreams: dns.Resolvers(string(resolv)), Log: a.o.Log})
	for _, host := range []string{"127.0.0.1", "::1"} {
		if err := a.answerAt(life, s, net.JoinHostPort(host, strconv.Itoa(dnsPort)), background); err != nil {
			if host == "::1" && !a.set.ip.Is6() { // the pod may have no IPv6
				a.o.Log.Debug("no DNS over IPv6", "error", err)
				continue
			}
			return err
		}
	}
	var opts []grpc.CallOption
	if a.set.secure {
		opts = append(opts, grpc.PerRPCCredentials(bearer{a}))
	}
	background(func() { dns.Follow(life, control, node, s.Set, a.o.Log, opts...) })
	return nil
}

// answerAt opens a UDP and a TCP socket for questions.
func (a *Agent) answerAt(life context.Context, s *dns.Server, addr string, background func(func())) error {
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return fmt.Errorf("serve DNS: %w", err)
	}
	stream, err := net.Listen("tcp", addr)
	if err != nil {
		_ = packets.Close()
		return fmt.Errorf("serve DNS: %w", err)
	}
	background(func() {
		if err := s.Serve(life, packets, stream); err != nil {
			a.o.Log.Error("DNS is not served any more", "address", addr, "error", err)
		}
	})
	return nil
}

// bearer has each call carry the token of that time, if there is one.
type bearer struct{ a *Agent }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := b.a.token()
	if err != nil {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return true }
