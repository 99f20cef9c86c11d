package server

import (
	"fmt"
	"slices"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// BenchmarkOneOfManyHosts is what one stream costs when one virtual host of n changed: compare, send, acknowledge.
func BenchmarkOneOfManyHosts(b *testing.B) {
	for _, n := range []int{100, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			base := &xdsgen.Resources{Routes: []*xdsgen.Resource{res("80@1")}}
			for i := range n {
				base.Clusters = append(base.Clusters, res(fmt.Sprintf("c%05d@1", i)))
				base.VirtualHosts = append(base.VirtualHosts, vhost(fmt.Sprintf("80/h%05d@1", i), fmt.Sprintf("c%05d", i)))
			}
			s := newSession(true, limits{ack: time.Second})
			s.wantAll(base)
			now := time.Unix(1000, 0)
			settle := func() {
				for out := s.next(now); len(out) > 0; out = s.next(now) {
					for _, r := range out {
						s.onDelta(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: r.kind.url(), ResponseNonce: r.nonce})
					}
				}
			}
			for _, q := range []*discoveryv3.DeltaDiscoveryRequest{
				{TypeUrl: clusters.url()}, {TypeUrl: listeners.url()},
				{TypeUrl: routes.url(), ResourceNamesSubscribe: []string{"80"}}, {TypeUrl: hosts.url()},
			} {
				s.onDelta(q)
				settle()
			}
			if !s.acknowledged() {
				b.Fatal("not acknowledged")
			}
			b.ResetTimer()
			for i := range b.N {
				w := clone(base)
				w.VirtualHosts = slices.Clone(base.VirtualHosts)
				w.VirtualHosts[n/2] = vhost(fmt.Sprintf("80/h%05d@v%d", n/2, i), "c00001")
				s.wantAll(w)
				settle()
			}
			if s.ch[hosts].acked.at(fmt.Sprintf("80/h%05d", n/2)).version == "1" {
				b.Fatal("the change did not arrive")
			}
		})
	}
}
