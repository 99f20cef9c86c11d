package server

import (
	"testing"

	"github.com/mizzen-mesh/mizzen/controlplane/xdsgen"
)

// TestRefusedExtension: one that a proxy refuses is replaced by what it had, or by what stands in for it; the others come one by one,
// a listener that was refused for it is sent again, and the next version is tried.
func TestRefusedExtension(t *testing.T) {
	extension := func(version string) *xdsgen.Resource {
		r := res("e@" + version)
		r.Instead = res("e@instead")
		return r
	}
	want := shop()
	want.Extensions = []*xdsgen.Resource{extension("1"), res("f@1")}
	b := newBench(t, true, want)
	version := func(v string) {
		t.Helper()
		if got := b.out[extensions].body[0].Version; got != v {
			t.Fatalf("version %s was sent, want %s", got, v)
		}
	}
	b.subscribe(listeners)
	b.expect("lds+l")
	b.subscribe(extensions, "e", "f")
	b.expect("ecds+e")
	version("1")
	b.nack(extensions, "no good")
	b.nack(listeners, "it names one that is no good")
	b.expect("ecds+e")
	version("instead")
	b.ack(extensions)
	b.expect("ecds+f lds+l")
	b.ack(extensions)
	b.ack(listeners)
	b.expect("")
	want = clone(want)
	want.Extensions = []*xdsgen.Resource{extension("2"), res("f@1")}
	b.s.wantAll(want)
	b.expect("ecds+e")
	version("2")
	b.ack(extensions)
	b.expect("")
	want = clone(want)
	want.Extensions = []*xdsgen.Resource{extension("3"), res("f@1")}
	b.s.wantAll(want)
	b.expect("ecds+e")
	b.nack(extensions, "no good")
	b.expect("ecds+e")
	version("2")
	b.ack(extensions)
	b.expect("")
	want = clone(want)
	want.Extensions = nil
	b.s.wantAll(want)
	b.expect("") // while the proxy follows it, a listener has it
	b.unsubscribe(extensions, "e", "f")
	b.expect("")
}
