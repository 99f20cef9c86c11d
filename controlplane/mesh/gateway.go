package mesh

import "slices"

// Gateway is one Gateway resource.
type Gateway struct {
	Namespace, Name string
	Selector        map[string]string
	Servers         []*Server
	Origin          Origin
}

// Server is one server of a Gateway.
type Server struct {
	Port          uint32
	PortName      string
	Protocol      Protocol
	Bind          string
	Hosts         []GatewayHost
	HTTPSRedirect bool
	// TLS ends in the gateway; nil: plain text, or, with Passthrough, TLS that goes on as it came, by its server name.
	TLS         *ServerTLS
	Passthrough bool
	Origin      Origin
}

// GatewayHost is "namespace/host"; Namespace "" or "*" is any, host may be "*" or "*.x".
type GatewayHost struct{ Namespace, Host string }

// ServerKind is what servers of one port must agree on: of others than the oldest's nothing is served there. It is for messages, too.
type ServerKind string

// Kinds of servers.
const (
	ServesHTTP ServerKind = "plain HTTP"
	ServesTLS  ServerKind = "TLS" // told apart by server names, whether it ends in the gateway or not
	ServesTCP  ServerKind = "TCP" // bytes, of whatever protocol
)

// Kind returns the server's.
func (s *Server) Kind() ServerKind {
	switch {
	case s.TLS != nil || s.Passthrough:
		return ServesTLS
	case s.Protocol.IsHTTP():
		return ServesHTTP
	}
	return ServesTCP
}

// Leads returns where services that select a gateway's pods lead, from their ports to those that target gives; its zero is none.
// Of two with one port the older service counts, as in Istio. What is not in it is bound on its own number.
func Leads[T comparable](services []*Service, target func(*Port) T) map[uint32]T {
	services = slices.Clone(services)
	slices.SortStableFunc(services, func(a, b *Service) int { return a.Created.Compare(b.Created) })
	var none T
	to := map[uint32]T{}
	for _, s := range services {
		for _, p := range s.Ports {
			if t := target(p); t != none && to[p.Number] == none && !s.Literal {
				to[p.Number] = t
			}
		}
	}
	return to
}
