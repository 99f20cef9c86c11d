package command

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Healthcheck is mizzen healthcheck: what a container's health check runs, since our images have no other program to ask with.
func Healthcheck() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "healthcheck URL",
		Short: "Ask a server whether it is well: exit status 0 or 1 (a container's health check)",
		Long:  `Ask a server whether it is well: http://HOST:PORT/PATH must answer 2xx, tcp://HOST:PORT take a connection.`,
		Example: `  mizzen healthcheck http://127.0.0.1:15021/healthz/ready
  mizzen healthcheck tcp://127.0.0.1:8080`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "tcp" {
				return cmdline.Usagef("read arguments: %q is neither an http:// nor a tcp:// address", args[0])
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if u.Scheme == "tcp" {
				return takesConnection(ctx, u.Host)
			}
			return answersWell(ctx, u.String())
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Second, "how long to wait")
	return cmd
}

func takesConnection(ctx context.Context, address string) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	return c.Close()
}

func answersWell(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req) // no proxy, whatever the environment says
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("check health: %s answers %s", address, res.Status)
	}
	return nil
}
