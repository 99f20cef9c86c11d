// Command mizzen is the whole of Mizzen in one binary: a mesh on this machine, the control plane, and the tools around them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses besides 0.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitFindings = 79 // as istioctl analyze
)

func main() { os.Exit(execute(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// execute is main without the process: it returns the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var status exitStatus
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "error: %v\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	return exitFailed
}

// exitStatus is an error that has been told already: only the status remains.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a wrong command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mizzen",
		Short: "Istio's API on stock Envoy, with policies in Go",
		Long: `Mizzen runs Istio's API on stock Envoy, with canary, fault, rate limit and tracing decided by Go code inside Envoy.

Start a mesh on this machine with "mizzen up", work with it with "call", "apply", "delete", "get", "proxy-status" and
"proxy-config". Exit status: 0 fine, 1 failed, 2 wrong usage, 79 findings.`,
		Example: `  mizzen up -f examples/shop
  mizzen call -n 200 /`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that an unknown command comes to RunE
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			hint := ""
			if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
				hint = "; did you mean " + strings.Join(s, " or ") + "?"
			}
			return usagef("read arguments: unknown command %q%s", args[0], hint)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("read arguments: %w; see %s -h", err, cmd.CommandPath())
	})
	root.AddCommand(commands()...)
	for _, c := range root.Commands() {
		usageOfArgs(c)
	}
	return root
}

// commands are all subcommands, in the order of a newcomer's first hour.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newUpCommand(), newCallCommand(), newApplyCommand(), newDeleteCommand(), newGetCommand(),
		newProxyStatusCommand(), newProxyConfigCommand(), newValidateCommand(), newAnalyzeCommand(), newConvertCommand(),
		newControlplaneCommand(), newRatelimitCommand(), newVersionCommand(),
	}
}

// usageOfArgs makes wrong positional arguments a usageError.
func usageOfArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("read arguments: %w; see %s -h", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageOfArgs(sub)
	}
}

// version is what the Go tool recorded of the build.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
