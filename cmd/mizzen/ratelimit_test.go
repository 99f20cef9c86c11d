package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
	"github.com/mizzen-mesh/mizzen/internal/textlog"
)

func TestRatelimitUsage(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{nil, exitFailed, "no --config"},
		{[]string{"--config", "x.yaml", "--algorithm", "leaky"}, exitUsage, `"leaky"`},
		{[]string{"--config", "x.yaml", "--on-error", "panic", "--grpc-addr", "127.0.0.1:0"}, exitFailed, `"panic"`},
		{[]string{"--config", "no-such.yaml", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, exitFailed, "no-such.yaml"},
		{[]string{"extra"}, exitUsage, "extra"},
	} {
		var out, errs bytes.Buffer
		status := execute(context.Background(), append([]string{"ratelimit"}, c.args...), strings.NewReader(""), &out, &errs)
		if status != c.status || !strings.Contains(errs.String(), c.says) {
			t.Errorf("%q: status %d, %q; want %d and %q", c.args, status, errs.String(), c.status, c.says)
		}
	}
}

// The command serves what its file says, follows the file, and ends when it is told to.
func TestRatelimitServes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limits.yaml")
	write := func(requests string) {
		yaml := "apiVersion: mizzen.dev/v1alpha1\nkind: RateLimit\nmetadata: {name: a, namespace: b}\nspec:\n  limits: [{name: c, requests: " +
			requests + ", per: hour, scope: global}]\n"
		if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("2")
	log := &textlog.Buffer{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- execute(ctx, []string{"ratelimit", "--config", file, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"}, strings.NewReader(""), log, log)
	}()
	defer func() {
		cancel()
		if status := <-done; status != 0 {
			t.Errorf("status %d:\n%s", status, log)
		}
	}()
	var addr string
	envoytest.Await(t, 10*time.Second, "limits in force", func() bool {
		if m := regexp.MustCompile(`grpc=(\S+)`).FindStringSubmatch(log.String()); m != nil {
			addr = m[1]
		}
		return addr != "" && strings.Contains(log.String(), "global=1")
	})
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func() rlsv3.RateLimitResponse_Code {
		out, err := rlsv3.NewRateLimitServiceClient(conn).ShouldRateLimit(ctx, &rlsv3.RateLimitRequest{Domain: "mizzen",
			Descriptors: []*commonv3.RateLimitDescriptor{{Entries: []*commonv3.RateLimitDescriptor_Entry{{Key: "limit", Value: "b/a/c"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetOverallCode()
	}
	for i, want := range []rlsv3.RateLimitResponse_Code{rlsv3.RateLimitResponse_OK, rlsv3.RateLimitResponse_OK, rlsv3.RateLimitResponse_OVER_LIMIT} {
		if got := ask(); got != want {
			t.Errorf("ask %d: %s, want %s", i, got, want)
		}
	}
	write("3")
	envoytest.Await(t, 10*time.Second, "one more passes", func() bool { return ask() == rlsv3.RateLimitResponse_OK })
}
