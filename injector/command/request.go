package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Request is mizzen request.
func Request() *cobra.Command {
	var port int
	cmd := &cobra.Command{
		Use:   "request METHOD PATH [BODY]",
		Short: "Send a request to the administration page of this pod's Envoy, or to its agent",
		Example: `  mizzen request GET stats?filter=upstream_cx
  mizzen request --debug-port 15020 POST drain`,
		Args: cobra.RangeArgs(2, 3),
	}
	cmd.Flags().IntVar(&port, "debug-port", 15000, "`PORT` to send it to: 15000 is Envoy's, 15020 the agent's")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body := io.Reader(http.NoBody)
		if len(args) > 2 {
			body = strings.NewReader(args[2])
		}
		url := fmt.Sprintf("http://127.0.0.1:%d/%s", port, strings.TrimPrefix(args[1], "/"))
		req, err := http.NewRequestWithContext(cmd.Context(), strings.ToUpper(args[0]), url, body)
		if err != nil {
			return cmdline.Usagef("read arguments: %w", err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("send request: %w", err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(cmd.OutOrStdout(), resp.Body); err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		if resp.StatusCode >= 400 {
			return fmt.Errorf("send request: the answer is %s", resp.Status)
		}
		return nil
	}
	return cmd
}

// Wait is mizzen wait.
func Wait() *cobra.Command {
	var url string
	var seconds, period, each, initial int
	cmd := &cobra.Command{
		Use:     "wait",
		Short:   "Wait until this pod's proxy takes traffic (a hook that holds the application back)",
		Example: "  mizzen wait --timeoutSeconds 60",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().StringVar(&url, "url", "http://127.0.0.1:15021/healthz/ready", "`URL` that answers 200 then")
	cmd.Flags().IntVar(&seconds, "timeoutSeconds", 60, "how long to wait, in seconds")
	cmd.Flags().IntVar(&period, "periodMillis", 500, "how long to pause between attempts, in milliseconds")
	cmd.Flags().IntVar(&each, "requestTimeoutMillis", 500, "how long one attempt may take, in milliseconds")
	cmd.Flags().IntVar(&initial, "initialDelayMillis", 0, "how long to pause before the first, in milliseconds")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Duration(seconds)*time.Second)
		defer cancel()
		pause := time.Duration(initial) * time.Millisecond
		client := &http.Client{Timeout: time.Duration(each) * time.Millisecond}
		last := fmt.Errorf("it was not asked")
		for {
			t := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				t.Stop()
				return fmt.Errorf("wait for the proxy: not ready after %d s: %w", seconds, last)
			case <-t.C:
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return cmdline.Usagef("read --url: %w", err)
			}
			resp, err := client.Do(req)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return nil
				}
				err = fmt.Errorf("the answer is %s", resp.Status)
			}
			last, pause = err, time.Duration(period)*time.Millisecond
		}
	}
	return cmd
}
