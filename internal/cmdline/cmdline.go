// Package cmdline is what all commands of Mizzen have in common: how a wrong command line is told, exit statuses, flags that come from the
// environment.
package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses besides 0.
const (
	Failed = 1
	Usage  = 2
)

// Status is an error that has been told already: only the exit status remains.
type Status int

func (s Status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// UsageError is a wrong command line.
type UsageError struct{ Err error }

func (u UsageError) Error() string { return u.Err.Error() }

// Unwrap is what was wrong.
func (u UsageError) Unwrap() error { return u.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{Err: fmt.Errorf(format, args...)} }

// Execute runs a command that Prepare has prepared and returns the exit status. Errors are told on stderr.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var status Status
	var usage UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "error: %v\n", err)
		return Usage
	}
	fmt.Fprintf(stderr, "error: %v\n", err)
	return Failed
}

// Prepare gives a program's command its subcommands and the manners of Mizzen: a wrong command line is told in one line with what to
// write instead, and is a UsageError.
func Prepare(root *cobra.Command, commands ...*cobra.Command) {
	root.Version, root.SilenceErrors, root.SilenceUsage = Version(), true, true
	root.Args = cobra.ArbitraryArgs // so that an unknown command comes to RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return Usagef("read arguments: unknown command %q%s", args[0], suggestion(cmd, args[0]))
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usagef("read arguments: %w; see %s -h", err, cmd.CommandPath())
	})
	root.AddCommand(commands...)
	for _, c := range root.Commands() {
		usageOfArgs(c)
	}
}

// usageOfArgs makes wrong positional arguments a UsageError that says what to write.
func usageOfArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return Usagef("read arguments: %w", wrongArgs(cmd, check, args, err))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		usageOfArgs(sub)
	}
}

// wrongArgs is what a command says to arguments that its check refuses, err being the check's own words for it.
func wrongArgs(cmd *cobra.Command, check cobra.PositionalArgs, args []string, err error) error {
	name := cmd.CommandPath()
	taken := len(args) - 1 // how many of them are right
	for taken >= 0 && check(cmd, args[:taken]) != nil {
		taken--
	}
	if taken < 0 {
		return fmt.Errorf("%s %w; write %s", name, err, cmd.UseLine())
	}
	word := args[taken]
	switch {
	case cmd.HasAvailableSubCommands():
		hint := suggestion(cmd, word)
		if hint == "" {
			var names []string
			for _, sub := range cmd.Commands() {
				names = append(names, sub.Name())
			}
			hint = fmt.Sprintf("; write %s %s", name, strings.Join(names, "|"))
		}
		return fmt.Errorf("%s has no command %q%s", name, word, hint)
	case len(cmd.ValidArgs) > 0 && !slices.Contains(cmd.ValidArgs, word):
		return fmt.Errorf("%s takes %s, not %q; write %s", name, strings.Join(cmd.ValidArgs, " or "), word, cmd.UseLine())
	case taken > 0:
		return fmt.Errorf("%s takes no more arguments than %s, and %q is one more; write %s", name, strings.Join(args[:taken], " "), word, cmd.UseLine())
	case cmd.Flags().ShorthandLookup("f") != nil && (word == "-" || strings.ContainsAny(word, "./")):
		return fmt.Errorf("%s takes files by -f only, and %q stands without; write %s -f %s", name, word, name, word)
	}
	return fmt.Errorf("%s takes no argument, and %q is one; write %s", name, word, cmd.UseLine())
}

// suggestion is the end of a message about an unknown command, "" if no command is spelt alike.
func suggestion(cmd *cobra.Command, word string) string {
	cmd.SuggestionsMinimumDistance = 2
	if s := cmd.SuggestionsFor(word); len(s) > 0 {
		return "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return ""
}

// Version is what the Go tool recorded of the build.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// FlagsFromEnv fills the named flags that were not given from MIZZEN_* variables. A flag that takes several values takes a
// list of them, separated as in PATH.
func FlagsFromEnv(cmd *cobra.Command, getenv func(string) string, names ...string) error {
	for _, name := range names {
		v := getenv("MIZZEN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		f := cmd.Flags().Lookup(name)
		if f.Changed || v == "" {
			continue
		}
		values := []string{v}
		if _, several := f.Value.(interface{ Append(string) error }); several {
			values = filepath.SplitList(v)
		}
		for _, v := range values {
			if err := cmd.Flags().Set(name, v); err != nil {
				return fmt.Errorf("read environment for --%s: %w", name, err)
			}
		}
	}
	return nil
}
