package command

import (
	"cmp"
	"context"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
	"github.com/mizzen-mesh/mizzen/localmesh/standin"
)

// Standin is mizzen standin.
func Standin() *cobra.Command {
	var o standin.Options
	var ports, tcpPorts, forward []string
	var calls, level string
	var drain time.Duration
	cmd := &cobra.Command{
		Use:   "standin --service NAME --ports PORT",
		Short: "Be the application that mizzen up gives a workload without one",
		Long: `Be the stand-in application: it answers any request with one line, "reviews v1 (reviews-v1-0)", followed by " => " and the answer of
each upstream that it calls, and forwards trace headers. It speaks HTTP/1.1, h2c, gRPC (echo, health) and WebSocket on --ports, and
echoes bytes on --tcp-ports. Request headers fail: 0.3 and slow: 2s make it fail and wait.

Every flag can be given as an environment variable: MIZZEN_SERVICE, MIZZEN_VERSION, MIZZEN_CALLS, MIZZEN_PORTS (several are separated
by ":") and so on.`,
		Example: `  mizzen standin --service reviews --version v1 --ports 9080 --calls http://ratings:9080/
  MIZZEN_SERVICE=echo MIZZEN_TCP_PORTS=9000 mizzen standin`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.Service, "service", "", "`NAME` that it answers with; default: the host's name")
	f.StringVar(&o.Version, "version", "", "`VERSION` that it answers with")
	f.StringVar(&o.Instance, "instance", "", "`NAME` in brackets; default: $POD_NAME, else the host's name")
	f.StringVar(&o.Address, "address", "", "`IP` to listen on; default: all")
	f.StringSliceVar(&ports, "ports", nil, "`PORTS` with HTTP and gRPC; default: 8080 if there are no --tcp-ports")
	f.StringSliceVar(&tcpPorts, "tcp-ports", nil, "`PORTS` that echo bytes")
	f.StringVar(&calls, "calls", "", "`URLS` asked for every request, separated by commas")
	f.StringSliceVar(&forward, "forward", nil, "request `HEADERS` forwarded besides those that every stand-in forwards")
	f.StringVar(&o.Proxy, "proxy", "", "`URL` of an HTTP proxy for its calls; default: none")
	f.DurationVar(&drain, "drain", 5*time.Second, "how long requests may go on after SIGTERM")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := cmdline.FlagsFromEnv(cmd, os.Getenv, "service", "version", "instance", "address", "ports", "tcp-ports", "calls", "forward", "proxy", "drain", "log-level")
		if err != nil {
			return err
		}
		host, _ := os.Hostname()
		o.Service, o.Instance, o.Forward = cmp.Or(o.Service, host), cmp.Or(o.Instance, os.Getenv("POD_NAME"), host), forward
		if o.Log, err = logger(cmd.ErrOrStderr(), level); err != nil {
			return err
		}
		if o.Calls, err = standin.ParseCalls(calls); err != nil {
			return cmdline.Usagef("read --calls: %w", err)
		}
		if len(ports)+len(tcpPorts) == 0 {
			ports = []string{"8080"}
		}
		if err := addPorts(&o, ports, false); err != nil {
			return err
		}
		if err := addPorts(&o, tcpPorts, true); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		app, err := standin.Start(o)
		if err != nil {
			return err
		}
		o.Log.Info("serving", "service", o.Service, "version", o.Version, "instance", o.Instance, "addresses", strings.Join(app.Addresses(), " "))
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		app.Shutdown(end)
		return nil
	}
	return cmd
}

func addPorts(o *standin.Options, ports []string, tcp bool) error {
	for _, p := range ports {
		n, err := strconv.ParseUint(strings.TrimSpace(p), 10, 16)
		if err != nil {
			return cmdline.Usagef("read ports: %q is not a port", p)
		}
		o.Ports = append(o.Ports, standin.Port{Number: uint32(n), TCP: tcp})
	}
	return nil
}
