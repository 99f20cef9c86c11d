// Package command holds the subcommands that run in users' pods: mizzen iptables, module and standin. The small binary of the
// sidecar's image (cmd/agent) has no others; cmd/mizzen has them beside its own.
package command

import (
	"io"
	"log/slog"

	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// logger writes text of a level and above.
func logger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, cmdline.Usagef("read --log-level: %w", err)
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
}
