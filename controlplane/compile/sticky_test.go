package compile_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mizzen-mesh/mizzen/controlplane/compile"
	"github.com/mizzen-mesh/mizzen/filters/canary"
	"github.com/mizzen-mesh/mizzen/filters/filter"
	"github.com/mizzen-mesh/mizzen/filters/match"
)

func TestParseSticky(t *testing.T) {
	hour := &canary.Cookie{TTL: filter.Duration(time.Hour), Path: "/"}
	for _, c := range []struct {
		in   string
		want *canary.Sticky // nil: an error
	}{
		{"header=X-User", &canary.Sticky{Key: match.Key{Header: "x-user"}}},
		{"cookie=side", &canary.Sticky{Key: match.Key{Cookie: "side"}}},
		{"cookie=side; ttl=1h; path=/", &canary.Sticky{Key: match.Key{Cookie: "side"}, SetCookie: hour}},
		{"cookie=side;ttl=0s", &canary.Sticky{Key: match.Key{Cookie: "side"}, SetCookie: &canary.Cookie{}}},
		{"source-address", &canary.Sticky{Key: match.Key{SourceAddress: true}}},
		{"trace-id", &canary.Sticky{Key: match.Key{TraceID: true}}},
		{"", nil},
		{"header", nil},
		{"header=", nil},
		{"header=a b", nil},
		{"header=a;ttl=1h", nil},
		{"source-address=1", nil},
		{"cookie=side;path=/", nil},
		{"cookie=side;ttl=soon", nil},
		{"cookie=side;ttl=-1h", nil},
		{"cookie=side;ttl=1h;colour=red", nil},
		{"cookie=side;ttl=1h;samesite=perhaps", nil},
	} {
		got, err := compile.ParseSticky(c.in)
		if (err != nil) != (c.want == nil) {
			t.Errorf("%q: error %v", c.in, err)
			continue
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.in, d)
		}
	}
}
