package caller

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

func shopState() *state.State {
	return &state.State{
		Gateways: []state.Gateway{
			{Name: "istio-ingressgateway", HTTP: "http://127.0.0.1:8080", HTTPS: "https://127.0.0.1:8443", Address: "127.0.0.1", Ports: map[uint32]uint32{80: 8080, 443: 8443, 31400: 31400}},
			{Name: "istio-egressgateway", HTTP: "http://127.1.0.9:8080", Address: "127.1.0.9", Ports: map[uint32]uint32{80: 8080}},
		},
		Workloads: []state.Workload{{Name: "reviews-v1-0", Namespace: "default", Proxy: "http://127.1.0.7:15001"}},
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		from, url string
		want      Target
		err       string
	}{
		{"", "/a?b=c", Target{URL: "http://127.0.0.1:8080/a?b=c"}, ""},
		{"", "http://127.0.0.1:8080/x", Target{URL: "http://127.0.0.1:8080/x"}, ""},
		{"", "http://shop.example/x", Target{URL: "http://127.0.0.1:8080/x", Host: "shop.example"}, ""},
		{"", "https://shop.example/x", Target{URL: "https://127.0.0.1:8443/x", Host: "shop.example"}, ""},
		{"", "http://shop.example:31400/", Target{URL: "http://127.0.0.1:31400/", Host: "shop.example:31400"}, ""},
		{"", "http://ratings:9080/", Target{}, "no server on port 9080; name a workload with --from"},
		{"istio-egressgateway", "http://x.example/", Target{URL: "http://127.1.0.9:8080/", Host: "x.example"}, ""},
		{"reviews-v1-0", "http://ratings:9080/", Target{URL: "http://ratings:9080/", Proxy: "http://127.1.0.7:15001"}, ""},
		{"reviews", "http://ratings/", Target{URL: "http://ratings/", Proxy: "http://127.1.0.7:15001"}, ""},
		{"reviews-v1-0", "/a", Target{}, "a workload needs a host"},
		{"nobody", "http://ratings/", Target{}, "the mesh has istio-ingressgateway"},
	} {
		got, err := Resolve(shopState(), c.from, c.url)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s %s: error %v", c.from, c.url, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s %s: got %+v, %v", c.from, c.url, got, err)
		}
	}
}

func TestSendCountsEveryAnswer(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := n.Add(1)
		if r.Host != "shop.example" || r.Header.Get("X-A") != "b" {
			t.Errorf("host %s, header %v", r.Host, r.Header)
		}
		switch {
		case i%10 == 0:
			w.WriteHeader(503)
			_, _ = io.WriteString(w, "no healthy upstream")
		case i%2 == 0:
			_, _ = io.WriteString(w, "v2\n")
		default:
			_, _ = io.WriteString(w, "v1\n")
		}
	}))
	defer s.Close()
	var r Report
	err := Send(t.Context(), Request{
		Target: Target{URL: s.URL}, Count: 100, Concurrency: 7,
		Header: http.Header{"Host": {"shop.example"}, "X-A": {"b"}},
	}, r.Add)
	if err != nil {
		t.Fatal(err)
	}
	r.Finish()
	var out strings.Builder
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	if n.Load() != 100 || r.Requests != 100 || len(r.Answers) != 2 || r.Answers[0].Answer != "v1" || r.Answers[0].Count != 50 || r.Answers[0].Share != 50 ||
		r.Answers[1].Count != 40 || len(r.Failures) != 1 || r.Failures[0].Flag != "UH" || r.Failures[0].Count != 10 {
		t.Errorf("sent %d, got %+v", n.Load(), r)
	}
	for _, want := range []string{"ANSWER   COUNT   SHARE", "v1       50      50.0%", "503    UH     10      10.0%   no healthy upstream", "100 requests, 10 failed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestNoAnswerIsAFailure(t *testing.T) {
	var r Report
	if err := Send(t.Context(), Request{Target: Target{URL: "http://127.0.0.1:1/"}, Timeout: time.Second}, r.Add); err != nil {
		t.Fatal(err)
	}
	r.Finish()
	if len(r.Failures) != 1 || r.Failures[0].Code != 0 || !strings.Contains(r.Failures[0].Answer, "refused") {
		t.Errorf("got %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Send(ctx, Request{Target: Target{URL: "http://127.0.0.1:1/"}}, r.Add); err == nil {
		t.Error("no error after the end of the context")
	}
}

func TestFlags(t *testing.T) {
	envoy := http.Header{"Server": {"istio-envoy"}}
	for _, c := range []struct {
		a    Answer
		want string
	}{
		{Answer{Status: 200, Body: "no healthy upstream"}, "-"},
		{Answer{Status: 503, Body: "reviews v1 (r) => ratings: 503 fault filter abort"}, "FI"},
		{Answer{Status: 503, Body: "upstream connect error or disconnect/reset before headers. reset reason: overflow"}, "UO"},
		{Answer{Status: 504, Body: "upstream request timeout"}, "UT"},
		{Answer{Status: 404, Header: envoy}, "NR"},
		{Answer{Status: 503, Header: envoy}, "NC"},
		{Answer{Status: 429, Header: http.Header{"X-Ratelimit-Limit": {"5"}}}, "RL"},
		{Answer{Status: 500, Body: "bug"}, "-"},
	} {
		if got := c.a.Flag(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.a, got, c.want)
		}
	}
}
