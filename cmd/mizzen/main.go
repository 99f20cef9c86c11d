// Command mizzen is the whole of Mizzen in one binary: a mesh on this machine, the control plane, and the tools around them.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/command"
	"github.com/mizzen-mesh/mizzen/internal/cmdline"
)

// Exit statuses besides 0.
const (
	exitFailed   = cmdline.Failed
	exitUsage    = cmdline.Usage
	exitFindings = 79 // as istioctl analyze
)

func main() {
	os.Exit(execute(context.Background(), command.Args(os.Args[0], os.Args[1:]), os.Stdin, os.Stdout, os.Stderr))
}

// execute is main without the process: it returns the exit status.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return cmdline.Execute(ctx, newRootCommand(), args, stdin, stdout, stderr)
}

// exitStatus is an error that has been told already: only the status remains.
type exitStatus = cmdline.Status

// usageError is a wrong command line.
type usageError = cmdline.UsageError

func usagef(format string, args ...any) error { return cmdline.Usagef(format, args...) }

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mizzen",
		Short: "Istio's API on stock Envoy, with policies in Go",
		Long: `Mizzen runs Istio's API on stock Envoy, with canary, fault, rate limit and tracing decided by Go code inside Envoy.

Start a mesh on this machine with "mizzen up", work with it with "call", "apply", "delete", "get", "proxy-status" and
"proxy-config", see who calls whom with "graph". Exit status: 0 fine, 1 failed, 2 wrong usage, 79 findings.`,
		Example: `  mizzen up -f examples/shop
  mizzen call -n 200 /`,
	}
	cmdline.Prepare(root, commands()...)
	return root
}

// commands are all subcommands, in the order of a newcomer's first hour.
func commands() []*cobra.Command {
	return append([]*cobra.Command{
		localOnly(newUpCommand(), "mizzen install ACCESS, and kubectl ACCESS apply -f PATH"),
		localOnly(newCallCommand(), "kubectl ACCESS exec deploy/WORKLOAD -- curl ARGS"),
		localOnly(newApplyCommand(), "kubectl ACCESS apply -f PATH"),
		localOnly(newDeleteCommand(), "kubectl ACCESS delete ARGS"),
		localOnly(newGetCommand(), "kubectl ACCESS get ARGS"),
		newProxyStatusCommand(), newProxyConfigCommand(), newGraphCommand(), newValidateCommand(), newAnalyzeCommand(), newConvertCommand(),
		newInstallCommand(), newUninstallCommand(), newControlplaneCommand(), newRatelimitCommand(),
		newInjectorCommand(), newKubeInjectCommand(), newCheckInjectCommand(), newCACommand(), newVersionCommand(),
	}, command.All()...)
}
