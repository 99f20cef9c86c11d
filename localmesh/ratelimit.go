package localmesh

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mizzen-mesh/mizzen/internal/supervisor"
	"github.com/mizzen-mesh/mizzen/localmesh/state"
)

// Where the rate-limit service listens if the ports are free.
const (
	portRateLimit      = 8081
	portRateLimitPages = 8082
)

// rateLimitTimeout is what proxies wait for the service: on one busy machine the usual 20 ms would often be over, and each proxy
// would count for itself.
const rateLimitTimeout = time.Second

// rateLimiter is the child process that counts limits of scope global. It always runs, so that the first such limit that is
// applied finds it there.
type rateLimiter struct {
	state.RateLimit
	process *supervisor.Process
}

// startRateLimiter runs `mizzen ratelimit` over paths, at the same ports whenever it is started again.
func (m *mesh) startRateLimiter(paths []string) error {
	grpc, err := address(portRateLimit)
	if err != nil {
		return err
	}
	pages, err := address(portRateLimitPages)
	if err != nil {
		return err
	}
	r := &rateLimiter{RateLimit: state.RateLimit{GRPC: grpc, HTTP: "http://" + pages}}
	args := []string{"ratelimit", "--grpc-addr", grpc, "--http-addr", pages}
	if m.o.Redis != "" {
		args = append(args, "--redis", m.o.Redis, "--redis-timeout", (rateLimitTimeout / 2).String())
	}
	for _, p := range paths {
		args = append(args, "--config", p)
	}
	r.process, err = supervisor.Start(supervisor.Command{
		Name: "rate-limit service", Path: m.o.Executable, Args: args, Env: m.o.Env, Output: m.logFile("ratelimit"),
	}, m.o.Log)
	if err != nil {
		return err
	}
	m.limiter = r
	return nil
}

// awaitRateLimiter waits until it has read the limits.
func (m *mesh) awaitRateLimiter(ctx context.Context) error {
	err := await(ctx, 20*time.Second, func(ctx context.Context) (bool, string) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.limiter.HTTP+"/ready", nil)
		if err != nil {
			return false, err.Error()
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err.Error()
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
	if err != nil {
		return fmt.Errorf("start the rate-limit service: %w; see %s", err, m.logFile("ratelimit"))
	}
	return nil
}

// flags tell the control plane where proxies find it.
func (r *rateLimiter) flags(m *mesh) []string {
	return []string{"--ratelimit", m.reach(r.GRPC), "--ratelimit-timeout", rateLimitTimeout.String()}
}
