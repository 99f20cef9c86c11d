// Package redistest runs a real redis-server in tests. Without one on PATH it skips the test and says so; with
// MIZZEN_REQUIRE_REDIS=1 in the environment it fails instead.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Server is a running Redis without persistence. It ends with the test.
type Server struct {
	// Addr stays the same over Kill and Restart.
	Addr string

	bin  string
	args []string
	dir  string
	mu   sync.Mutex
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// Start starts a server on a free loopback port; args are added to its command line.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("MIZZEN_REQUIRE_REDIS") == "1" {
			t.Fatal("no redis-server on PATH")
		}
		t.Skip("no redis-server on PATH (Debian: redis-server)")
	}
	s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(envoytest.FreePort(t))), bin: bin, args: args, dir: t.TempDir()}
	s.Restart(t)
	t.Cleanup(func() { s.Kill() })
	return s
}

// Restart starts the server at its address after Kill, empty, and waits until it answers.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	log := &bytes.Buffer{}
	cmd := exec.Command(s.bin, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--loglevel", "warning"}, s.args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	s.mu.Lock()
	s.cmd, s.log = cmd, log
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := s.ping(ctx); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.Kill()
			t.Fatalf("redis-server does not answer: %s", log)
		case <-tick.C:
		}
	}
}

func (s *Server) ping(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	b := make([]byte, 5)
	if _, err := c.Read(b); err != nil {
		return err
	}
	if string(b) != "+PONG" {
		return fmt.Errorf("answered %q", b)
	}
	return nil
}

// Kill ends the server at once, as a crash does.
func (s *Server) Kill() { s.signal(syscall.SIGKILL, true) }

// Pause stops the server without closing its connections; Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP, false) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT, false) }

func (s *Server) signal(sig syscall.Signal, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	if wait {
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Client returns a client that ends with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true, Protocol: 2})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// StartCluster starts a cluster of n servers that share the slots, and waits until every one knows it.
func StartCluster(t testing.TB, n int) []*Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	servers := make([]*Server, n)
	clients := make([]*redis.Client, n)
	for i := range servers {
		servers[i] = Start(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		clients[i] = servers[i].Client(t)
		if err := clients[i].ClusterAddSlotsRange(ctx, i*16384/n, (i+1)*16384/n-1).Err(); err != nil {
			t.Fatalf("give slots: %v", err)
		}
		if i == 0 {
			continue
		}
		host, port, _ := net.SplitHostPort(servers[0].Addr)
		if err := clients[i].ClusterMeet(ctx, host, port).Err(); err != nil {
			t.Fatalf("meet: %v", err)
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, c := range clients {
		for {
			info, err := c.ClusterInfo(ctx).Result()
			if err == nil && bytes.Contains([]byte(info), []byte("cluster_state:ok")) &&
				bytes.Contains([]byte(info), []byte("cluster_slots_assigned:16384")) {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("the cluster does not form: %v %s", err, info)
			case <-tick.C:
			}
		}
	}
	return servers
}
