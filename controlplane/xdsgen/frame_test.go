package xdsgen

import (
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
)

// TestFrame: frames put together are the response that marshalling would give.
func TestFrame(t *testing.T) {
	var b []byte
	want := &discoveryv3.DeltaDiscoveryResponse{}
	for _, m := range []*clusterv3.Cluster{{Name: "a", AltStatName: "aa"}, {Name: "b"}, {}} {
		r, err := resource(m.GetName(), m)
		if err != nil {
			t.Fatal(err)
		}
		var back clusterv3.Cluster
		if err := r.Body.UnmarshalTo(&back); err != nil || !proto.Equal(&back, m) {
			t.Fatalf("the body is %v, want %v: %v", &back, m, err)
		}
		b = append(b, r.Frame()...)
		plain := &Resource{Name: r.Name, Version: r.Version, Body: r.Body}
		if string(plain.Frame()) != string(r.Frame()) {
			t.Errorf("%s: the frame made later differs", r.Name)
		}
		want.Resources = append(want.Resources, &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: r.Body})
	}
	got := &discoveryv3.DeltaDiscoveryResponse{}
	if err := proto.Unmarshal(b, got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("read back as %v, want %v: %v", got, want, err)
	}
}
