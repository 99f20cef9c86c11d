package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

func start(t *testing.T, o Options) *App {
	t.Helper()
	o.Address = "127.0.0.1"
	if o.Ports == nil {
		o.Ports = []Port{{}}
	}
	a, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func (a *App) url() string { return "http://" + a.Addresses()[0] }

func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAnswerIsOneLineWithTheChain(t *testing.T) {
	ratings := start(t, Options{Service: "ratings", Version: "v1", Instance: "ratings-v1-0"})
	reviews := start(t, Options{Service: "reviews", Version: "v2", Instance: "reviews-v2-0", Calls: []string{ratings.url() + "/a"}})
	plain := start(t, Options{Service: "web", Instance: "web-0"})
	for _, c := range []struct {
		app  *App
		want string
	}{
		{ratings, "ratings v1 (ratings-v1-0)\n"},
		{reviews, "reviews v2 (reviews-v2-0) => ratings v1 (ratings-v1-0)\n"},
		{plain, "web (web-0)\n"},
	} {
		if code, body := get(t, c.app.url()+"/anything?x=1"); code != 200 || body != c.want {
			t.Errorf("got %d %q, want 200 %q", code, body, c.want)
		}
	}
}

func TestFailingUpstreamMakesIt503AndIsQuoted(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "local_rate_limited\n")
	}))
	defer up.Close()
	dead := fmt.Sprintf("127.0.0.1:%d", envoytest.FreePort(t))
	a := start(t, Options{Service: "reviews", Version: "v1", Instance: "r-0", Calls: []string{up.URL, "http://" + dead}})
	code, body := get(t, a.url())
	if code != 503 || !strings.HasPrefix(body, "reviews v1 (r-0) => 127.0.0.1: 429 local_rate_limited => 127.0.0.1: 503 ") || !strings.Contains(body, "refused") {
		t.Errorf("got %d %q", code, body)
	}
	if strings.Count(body, "\n") != 1 {
		t.Errorf("not one line: %q", body)
	}
}

func TestJSONAnswer(t *testing.T) {
	ratings := start(t, Options{Service: "ratings", Version: "v1", Instance: "ratings-v1-0"})
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	a := start(t, Options{Service: "reviews", Version: "v3", Instance: "i", Calls: []string{ratings.url() + "/x", bad.URL}})
	code, body := get(t, a.url()+"/p/q?k=v", "Accept", "application/json", "X-Two", "1", "X-Two", "2")
	var ans struct {
		Answer
		Upstream []map[string]any `json:"upstream"`
	}
	if err := json.Unmarshal([]byte(body), &ans); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if code != 503 || ans.Service != "reviews" || ans.Version != "v3" || ans.Instance != "i" || ans.Method != "GET" || ans.Path != "/p/q" ||
		ans.Query != "k=v" || ans.Host != a.Addresses()[0] || strings.Join(ans.Headers["x-two"], ",") != "1,2" {
		t.Errorf("got %d %+v", code, ans)
	}
	if len(ans.Upstream) != 2 || ans.Upstream[0]["service"] != "ratings" || ans.Upstream[0]["path"] != "/x" || ans.Upstream[1]["status"] != 404.0 {
		t.Errorf("upstream %v", ans.Upstream)
	}
}

func TestHeadersForwarded(t *testing.T) {
	var mu sync.Mutex
	var seen http.Header
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = r.Header
	}))
	defer up.Close()
	a := start(t, Options{Service: "a", Instance: "a-0", Calls: []string{up.URL}, Forward: []string{"End-User"}})
	sent := []string{"X-Request-Id", "1", "X-B3-Traceid", "2", "B3", "3", "Traceparent", "4", "Tracestate", "5", "Baggage", "6", "Uber-Trace-Id", "7",
		"X-Ot-Span-Context", "8", "X-Mine", "9", "Baggage-Tenant", "10", "End-User", "jason", "Slow", "1ms", "Fail", "0"}
	get(t, a.url(), append(sent, "User-Agent", "Safari", "Authorization", "secret", "Cookie", "a=b")...)
	for i := 0; i < len(sent); i += 2 {
		if seen.Get(sent[i]) != sent[i+1] {
			t.Errorf("%s: got %q", sent[i], seen.Get(sent[i]))
		}
	}
	if seen.Get("Baggage-User-Agent") != "Safari" || seen.Get("User-Agent") == "Safari" {
		t.Errorf("user agent: %q, baggage %q", seen.Get("User-Agent"), seen.Get("Baggage-User-Agent"))
	}
	if seen.Get("Authorization") != "" || seen.Get("Cookie") != "" {
		t.Errorf("forwarded what is not to be: %v", seen)
	}
	get(t, a.url(), "User-Agent", "Second", "Baggage-User-Agent", "First")
	if seen.Get("Baggage-User-Agent") != "First" {
		t.Errorf("baggage-user-agent overwritten: %q", seen.Get("Baggage-User-Agent"))
	}
}

func TestFailAndSlow(t *testing.T) {
	draw := 0.25
	a := start(t, Options{Service: "a", Instance: "a-0", Random: func() float64 { return draw }})
	for _, c := range []struct {
		header, value string
		code          int
		body          string
	}{
		{"fail", "0.3", 500, "a (a-0): failed as asked\n"},
		{"fail", "0.25", 200, "a (a-0)\n"},
		{"fail", "much", 400, "a (a-0): header fail: \"much\" is not a probability from 0 to 1\n"},
		{"slow", "soon", 400, "a (a-0): header slow: \"soon\" is not a duration such as 2s\n"},
	} {
		if code, body := get(t, a.url(), c.header, c.value); code != c.code || body != c.body {
			t.Errorf("%s: %s: got %d %q", c.header, c.value, code, body)
		}
	}
	for _, v := range []string{"60ms", "0.06"} {
		began := time.Now()
		if code, _ := get(t, a.url(), "slow", v); code != 200 || time.Since(began) < 60*time.Millisecond {
			t.Errorf("slow %s took %v, code %d", v, time.Since(began), code)
		}
	}
}

func TestCallsGoThroughTheProxyAndReuseItsConnection(t *testing.T) {
	var mu sync.Mutex
	hosts, conns := map[string]int{}, map[string]bool{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		hosts[r.URL.String()]++
		conns[r.RemoteAddr] = true
		_, _ = io.WriteString(w, "from "+r.Host+"\n")
	}))
	defer proxy.Close()
	a := start(t, Options{Service: "a", Instance: "a-0", Proxy: proxy.URL, Calls: []string{"http://ratings:9080/a", "http://localhost:9080/b"}})
	for range 20 {
		if _, body := get(t, a.url()); body != "a (a-0) => from ratings:9080 => from localhost:9080\n" {
			t.Fatalf("got %q", body)
		}
	}
	if hosts["http://ratings:9080/a"] != 20 || hosts["http://localhost:9080/b"] != 20 || len(conns) != 1 {
		t.Errorf("hosts %v over %d connections, want 20 each over 1", hosts, len(conns))
	}
}

func TestH2C(t *testing.T) {
	a := start(t, Options{Service: "a", Instance: "a-0"})
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get(a.url())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.ProtoMajor != 2 || string(b) != "a (a-0)\n" {
		t.Errorf("got HTTP/%d %q", resp.ProtoMajor, b)
	}
}

func TestGRPC(t *testing.T) {
	a := start(t, Options{Service: "a", Version: "v1", Instance: "a-0", Random: func() float64 { return 0 }})
	conn, err := grpc.NewClient(a.Addresses()[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	h, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil || h.Status != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health: %v %v", h, err)
	}
	var md metadata.MD
	out := &wrapperspb.StringValue{}
	if err := conn.Invoke(ctx, "/shop.Cart/Add", wrapperspb.String("hello"), out, grpc.Header(&md)); err != nil {
		t.Fatal(err)
	}
	if out.Value != "hello" || md.Get("instance")[0] != "a-0" {
		t.Errorf("echo %q from %v", out.Value, md)
	}
	err = conn.Invoke(metadata.AppendToOutgoingContext(ctx, "fail", "0.5"), "/shop.Cart/Add", wrapperspb.String("x"), out)
	if status.Code(err) != codes.Internal {
		t.Errorf("fail: %v", err)
	}
}

func TestWebSocketEchoEndsWithTheApp(t *testing.T) {
	a := start(t, Options{Service: "a", Instance: "a-0"})
	u, _ := url.Parse(a.url())
	ws, err := websocket.Dial("ws://"+u.Host+"/chat", "", a.url())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	for _, m := range [][]byte{[]byte("text"), bytes.Repeat([]byte{7}, 5000)} {
		var got []byte
		if err := websocket.Message.Send(ws, m); err != nil {
			t.Fatal(err)
		}
		if err := websocket.Message.Receive(ws, &got); err != nil || !bytes.Equal(got, m) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
	}
	a.Close()
	var rest []byte
	if err := websocket.Message.Receive(ws, &rest); err == nil {
		t.Error("connection outlived the application")
	}
}

func TestTCPEchoAndSeveralPorts(t *testing.T) {
	a := start(t, Options{Service: "a", Instance: "a-0", Ports: []Port{{}, {TCP: true}, {}}})
	c, err := net.Dial("tcp", a.Addresses()[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "PING\r\n")
	got := make([]byte, 6)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "PING\r\n" {
		t.Errorf("echo %q, %v", got, err)
	}
	if _, body := get(t, "http://"+a.Addresses()[2]); body != "a (a-0)\n" {
		t.Errorf("third port says %q", body)
	}
	a.Close()
	if _, err := c.Read(got); err == nil {
		t.Error("connection outlived the application")
	}
}

func TestStartFailsWhole(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Start(Options{Instance: "a-0", Address: "127.0.0.1", Ports: []Port{{}, {Number: uint32(l.Addr().(*net.TCPAddr).Port)}}})
	if err == nil || !strings.Contains(err.Error(), "a-0") {
		t.Errorf("got %v", err)
	}
}

func TestParseCalls(t *testing.T) {
	got, err := ParseCalls("http://ratings:9080/a, http://details:9080/")
	if err != nil || strings.Join(got, "|") != "http://ratings:9080/a|http://details:9080/" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"ratings:9080", "/a", "ftp://x/", "http://%zz"} {
		if _, err := ParseCalls(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}
