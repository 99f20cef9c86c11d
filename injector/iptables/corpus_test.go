package iptables

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/mizzen-mesh/mizzen/internal/golden"
)

// TestCorpus: the rules that command lines come to, in the words of iptables-restore and of nft. In the file args, a line is an argument;
// a line "dns ADDRESS" is a name server.
func TestCorpus(t *testing.T) {
	golden.Run(t, "testdata", func(t *testing.T, c *golden.Case) map[string]string {
		o, err := parsed(string(c.File("args")))
		if err != nil {
			return map[string]string{"error": err.Error()}
		}
		out := map[string]string{}
		for name, render := range map[string]func() (string, error){
			"iptables":  func() (string, error) { return Text(o, Default, []Family{IPv4}) },
			"ip6tables": func() (string, error) { return Text(o, Default, []Family{IPv6}) },
			"nft":       func() (string, error) { return Text(o, Native, []Family{IPv4}) },
			"nft6":      func() (string, error) { return Text(o, Native, []Family{IPv6}) },
		} {
			text, err := render()
			if err != nil {
				return map[string]string{"error": err.Error()}
			}
			out[name] = text
		}
		return out
	})
}

// parsed reads a case's command line.
func parsed(text string) (Options, error) {
	fs := pflag.NewFlagSet("iptables", pflag.ContinueOnError)
	bound := Bind(fs)
	var args []string
	var servers []netip.Addr
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if a, ok := strings.CutPrefix(l, "dns "); ok {
			servers = append(servers, netip.MustParseAddr(a))
		} else {
			args = append(args, l)
		}
	}
	if err := fs.Parse(args); err != nil {
		return Options{}, err
	}
	bound.DNSServers = servers
	if bound.ProxyGID == "" {
		bound.ProxyGID = bound.ProxyUID
	}
	return *bound, bound.Validate()
}
