package compile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/mesh"
)

// AutoLabel on a ServiceEntry says "false" where its hosts are to have no address but their own. Istio's.
const AutoLabel = "networking.istio.io/enable-autoallocate-ip"

// The addresses that are given lie in 240.240.0.0/16, as Istio's, and at the same place in 2001:2::f0f0:0/112. They are dealt in blocks:
// a host belongs to one by its name, and within it has the place that its name asks for, or the next that is free. So who comes and who
// goes changes nothing for others, but for those few of the same block that asked for the same place; there the first by name has it.
const (
	autoBlocks = 1 << 12
	autoPlaces = 14 // of 16: an address that ends in 0 or 255 looks like that of a network
)

// autoHome is the block of a host, and the place in it that its name asks for.
func autoHome(host, namespace string) (block, place uint32) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s/%s", namespace, host)
	sum := h.Sum64()
	return uint32(sum % autoBlocks), uint32(sum / autoBlocks % autoPlaces)
}

// autoAddress is that of a place, IPv4 and IPv6.
func autoAddress(block, place uint32) []string {
	n := block*16 + 1 + place
	v4 := netip.AddrFrom4([4]byte{240, 240, byte(n >> 8), byte(n)})
	v6 := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 3: 0x02, 12: 240, 13: 240, 14: byte(n >> 8), 15: byte(n)})
	return []string{v4.String(), v6.String()}
}

// autoAddresses gives addresses to the hosts of ServiceEntries that have none and are not wildcards, unless the caller's own address
// counts (NONE), or the entry does not want it. What an entry's status says, because another control plane has dealt, holds.
func (c *compiler) autoAddresses() {
	entries := map[istio.Ref]*istio.Meta{}
	for _, o := range c.set.ServiceEntries {
		entries[o.Meta.Ref] = &o.Meta
	}
	blocks := map[uint32][]*mesh.Service{}
	for _, s := range c.world.Services {
		m := entries[refOf(s.Origin)]
		if m == nil || len(s.Addresses) > 0 || mesh.IsWildcard(s.Hostname) || s.Resolution == mesh.ResolutionNone || m.Labels[AutoLabel] == "false" {
			continue
		}
		if s.Auto = statusAddresses(m, s.Hostname); s.Auto == nil {
			block, _ := autoHome(s.Hostname, s.Namespace)
			blocks[block] = append(blocks[block], s)
		}
	}
	for block, all := range blocks {
		c.dealBlock(block, all, entries)
	}
}

func (c *compiler) dealBlock(block uint32, all []*mesh.Service, entries map[istio.Ref]*istio.Meta) {
	slices.SortFunc(all, func(a, b *mesh.Service) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.Namespace, b.Namespace))
	})
	var taken [autoPlaces]bool
	for i, s := range all {
		if i >= autoPlaces {
			c.report(entries[refOf(s.Origin)], "spec.hosts", istio.Warning, codeAutoAddress,
				fmt.Sprintf("no address is left that could be given to %s", s.Hostname), "write addresses: [...]")
			continue
		}
		_, place := autoHome(s.Hostname, s.Namespace)
		for taken[place] {
			place = (place + 1) % autoPlaces
		}
		taken[place] = true
		s.Auto = autoAddress(block, place)
	}
}

// statusAddresses are those that the object's status names for a host; nil if it names none.
func statusAddresses(m *istio.Meta, host string) []string {
	if !bytes.Contains(m.Raw, []byte(`"status"`)) {
		return nil
	}
	var o struct {
		Status struct {
			Addresses []struct{ Value, Host string }
		}
	}
	if json.Unmarshal(m.Raw, &o) != nil {
		return nil
	}
	var out []string
	for _, a := range o.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Value); err == nil && (a.Host == "" || strings.EqualFold(a.Host, host)) {
			out = append(out, ip.String())
		}
	}
	return out
}
