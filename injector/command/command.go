// Package command holds the subcommands that run in users' pods: mizzen proxy, iptables, standin and so on. The small binary of the
// sidecar's image (cmd/agent) has no others; cmd/mizzen has them beside its own.
package command

import (
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// All are the subcommands.
func All() []*cobra.Command {
	return []*cobra.Command{Proxy(), Wait(), Request(), Iptables(), Module(), CNI(), Standin(), Healthcheck()}
}

// logger writes text of a level and above.
func logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, cmdline.Usagef("read --log-level: %w", err)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
