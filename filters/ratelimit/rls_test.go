package ratelimit

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// frame is b as gRPC sends it.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What we write is what the generated code reads, and writes.
func FuzzRLSRequest(f *testing.F) {
	f.Add("mizzen", "shop/front/per-user", "ann", "", uint32(0))
	f.Add("", "", "", "", uint32(1))
	f.Add("d", "l", strings.Repeat("x", 300), "\xff\xfe", uint32(math.MaxUint32))
	f.Fuzz(func(t *testing.T, domain, name, one, two string, requests uint32) {
		domain, name = strings.ToValidUTF8(domain, "?"), strings.ToValidUTF8(name, "?")
		ds := []rlsDescriptor{{limit: name, parts: []string{wireValue(one), wireValue(two)}}, {limit: name}}
		if requests > 0 {
			ds[0].requests, ds[0].unit = requests, 2
			ds[1].hits = uint64(requests)
		}
		got := rlsRequest(domain, ds)
		want := &rlsv3.RateLimitRequest{Domain: domain}
		for _, d := range ds {
			out := &commonv3.RateLimitDescriptor{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "limit", Value: d.limit}}}
			for _, p := range d.parts {
				out.Entries = append(out.Entries, &commonv3.RateLimitDescriptor_Entry{Key: "key", Value: p})
			}
			if d.requests > 0 {
				out.Limit = &commonv3.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: d.requests, Unit: typev3.RateLimitUnit_MINUTE}
			}
			if d.hits > 1 {
				out.HitsAddend = wrapperspb.UInt64(d.hits)
			}
			want.Descriptors = append(want.Descriptors, out)
		}
		if len(got) < 5 || got[0] != 0 || binary.BigEndian.Uint32(got[1:5]) != uint32(len(got)-5) {
			t.Fatalf("frame % x", got)
		}
		back := &rlsv3.RateLimitRequest{}
		if err := proto.Unmarshal(got[5:], back); err != nil || !proto.Equal(back, want) {
			t.Errorf("%v\ngot  %v\nwant %v", err, back, want)
		}
		if len(got)-5 != proto.Size(want) {
			t.Errorf("%d bytes, want %d", len(got)-5, proto.Size(want))
		}
	})
}

// What the generated code reads we read alike; what is damaged is an error or something, never a panic.
func FuzzRLSAnswer(f *testing.F) {
	full := &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OVER_LIMIT, RawBody: []byte("x"),
		Statuses: []*rlsv3.RateLimitResponse_DescriptorStatus{
			{Code: rlsv3.RateLimitResponse_OK, LimitRemaining: math.MaxUint32, DurationUntilReset: durationpb.New(90 * time.Second),
				CurrentLimit: &rlsv3.RateLimitResponse_RateLimit{Name: "n", RequestsPerUnit: 3, Unit: rlsv3.RateLimitResponse_RateLimit_HOUR}},
			{Code: rlsv3.RateLimitResponse_OVER_LIMIT, DurationUntilReset: durationpb.New(-time.Second)}, {}}}
	f.Add(marshal(f, full))
	f.Add(marshal(f, &rlsv3.RateLimitResponse{}))
	f.Add([]byte{0x08, 0x01, 0x0b, 0x10, 0x05, 0x0c, 0x12, 0x00}) // an unknown group
	f.Add([]byte{0x12, 0x7f})
	f.Add([]byte{0x12, 0x04, 0x22, 0x02, 0x08, 0x01, 0x12, 0x02, 0x18, 0x07})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseRLS(frame(b))
		want := &rlsv3.RateLimitResponse{}
		if proto.Unmarshal(b, want) != nil {
			return
		}
		if err != nil {
			t.Fatalf("refused what is well-formed: %v", err)
		}
		if got.code != int32(want.GetOverallCode()) || len(got.statuses) != len(want.GetStatuses()) {
			t.Fatalf("got %+v, want %v", got, want)
		}
		for i, w := range want.GetStatuses() {
			g := &got.statuses[i]
			if g.code != int32(w.GetCode()) || g.remaining != w.GetLimitRemaining() ||
				g.seconds != w.GetDurationUntilReset().GetSeconds() || g.nanos != w.GetDurationUntilReset().GetNanos() {
				t.Errorf("status %d: %+v, want %v", i, g, w)
			}
			if d := w.GetDurationUntilReset(); d.IsValid() && d.GetSeconds() >= 0 && d.GetNanos() >= 0 && d.GetSeconds() < 1e9 && g.reset() != d.AsDuration() {
				t.Errorf("reset %v, want %v", g.reset(), d.AsDuration())
			}
			if g.reset() < 0 {
				t.Errorf("reset %v", g.reset())
			}
		}
	})
}

func TestParseRLSFrames(t *testing.T) {
	ok := marshal(t, &rlsv3.RateLimitResponse{OverallCode: rlsv3.RateLimitResponse_OK})
	for _, c := range []struct {
		name string
		body []byte
		err  string
	}{
		{"whole", frame(ok), ""},
		{"nothing", nil, "0 bytes"},
		{"cut", frame(ok)[:6], "frame of"},
		{"longer", append(frame(ok), 0), "frame of"},
		{"compressed", append([]byte{1}, frame(ok)[1:]...), "compressed"},
		{"damaged", frame([]byte{0x12, 0x7f}), "malformed"},
	} {
		_, err := parseRLS(c.body)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
	}
}
