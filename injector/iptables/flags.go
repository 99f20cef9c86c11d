package iptables

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Bind adds Istio's flags, short and long, with Istio's defaults. What they say is in the options once the set is parsed.
func Bind(fs *pflag.FlagSet) *Options {
	o := Defaults()
	fs.Uint16VarP(&o.ProxyPort, "envoy-port", "p", o.ProxyPort, "`PORT` of Envoy for what the pod sends")
	fs.Uint16VarP(&o.InboundPort, "inbound-capture-port", "z", o.InboundPort, "`PORT` of Envoy for what the pod gets")
	fs.Uint16VarP(&o.TunnelPort, "inbound-tunnel-port", "e", o.TunnelPort, "`PORT` that is never redirected, of mesh tunnels")
	fs.StringVarP(&o.ProxyUID, "proxy-uid", "u", o.ProxyUID, "`UIDS` of the proxy, whose own traffic is left alone")
	fs.StringVarP(&o.ProxyGID, "proxy-gid", "g", "", "`GIDS` of the proxy, whose own traffic is left alone; default: those of -u")
	fs.VarP(mode{}, "istio-inbound-interception-mode", "m", "how what the pod gets reaches Envoy: REDIRECT")
	fs.StringVarP(&o.InboundPorts, "istio-inbound-ports", "b", "", "inbound `PORTS` to redirect: a list, * for all, or nothing")
	fs.StringVarP(&o.InboundExclude, "istio-local-exclude-ports", "d", "", "inbound `PORTS` not to redirect; counts with -b * only")
	fs.StringVarP(&o.OutboundRanges, "istio-service-cidr", "i", "", "`CIDRS` to redirect: a list, * for all, or nothing")
	fs.StringVarP(&o.OutboundExclude, "istio-service-exclude-cidr", "x", "", "`CIDRS` not to redirect")
	fs.StringVarP(&o.OutboundPorts, "istio-outbound-ports", "q", "", "outbound `PORTS` to redirect whatever -i says")
	fs.StringVarP(&o.OutboundPortsExclude, "istio-local-outbound-ports-exclude", "o", "", "outbound `PORTS` not to redirect")
	fs.StringVarP(&o.ExcludeInterfaces, "istio-exclude-interfaces", "c", "", "`INTERFACES` to leave alone")
	fs.StringVarP(&o.VirtualInterfaces, "kube-virt-interfaces", "k", "", "`INTERFACES` of virtual machines in the pod: what comes from them counts as sent by the pod")
	fs.BoolVar(&o.DropInvalid, "drop-invalid", false, "drop packets of no known connection, instead of having connections reset by them")
	fs.BoolVar(&o.RedirectDNS, "redirect-dns", false, "send questions to the name servers of /etc/resolv.conf to the agent")
	fs.BoolVar(&o.CaptureAllDNS, "capture-all-dns", false, "with --redirect-dns: whatever goes to port 53 of anybody")
	fs.StringVar(&o.OwnerGroups, "owner-groups", o.OwnerGroups, "`GIDS` whose traffic is redirected, * for all")
	fs.StringVar(&o.OwnerGroupsExclude, "owner-groups-exclude", "", "`GIDS` whose traffic is not redirected")
	fs.StringVar(&o.Loopback, "loopback-cidr", o.Loopback, "`CIDR` of the application's own address")
	return &o
}

// Environment names flags that have variables, as Istio's do: the first that is set counts, where the flag is not given.
func Environment() map[string][]string {
	return map[string][]string{
		"redirect-dns":         {"REDIRECT_DNS", "ISTIO_META_DNS_CAPTURE"},
		"capture-all-dns":      {"CAPTURE_ALL_DNS"},
		"drop-invalid":         {"DROP_INVALID", "INVALID_DROP"},
		"owner-groups":         {"ISTIO_OUTBOUND_OWNER_GROUPS"},
		"owner-groups-exclude": {"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE"},
		"loopback-cidr":        {"ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR"},
	}
}

// Settle fills flags that were not given from their variables, and what follows from others. lookup is as os.LookupEnv.
func Settle(fs *pflag.FlagSet, o *Options, lookup func(string) (string, bool)) error {
	variables := Environment()
	for _, flag := range slices.Sorted(maps.Keys(variables)) {
		for _, name := range variables[flag] {
			v, ok := lookup(name)
			if !ok || v == "" || fs.Changed(flag) {
				continue
			}
			if err := fs.Set(flag, v); err != nil {
				return fmt.Errorf("read variable %s: %w", name, err)
			}
		}
	}
	o.ProxyGID = cmp.Or(o.ProxyGID, o.ProxyUID)
	return nil
}

// mode takes the one way of redirecting that there is.
type mode struct{}

func (mode) String() string { return "REDIRECT" }

func (mode) Type() string { return "MODE" }

// Set implements pflag.Value. "" is Istio's for REDIRECT.
func (mode) Set(s string) error {
	switch strings.ToUpper(s) {
	case "", "REDIRECT":
		return nil
	case "TPROXY":
		return fmt.Errorf("TPROXY is not supported: Envoy's inbound listener is not transparent; write REDIRECT")
	}
	return fmt.Errorf("want REDIRECT")
}
