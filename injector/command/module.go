package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mizzen-mesh/mizzen/injector/agent"
	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// Module is mizzen module.
func Module() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "module",
		Short:   "Carry the dynamic module of the policies to an Envoy",
		Example: "  mizzen module copy --to /var/lib/mizzen",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var from, to string
	var alone bool
	c := &cobra.Command{
		Use:   "copy --to DIR",
		Short: "Copy libmizzen.so into a directory, in one step (the init container of a pod)",
		Long: `Copy libmizzen.so, or another module of the policies, into a directory, in one step. A proxy runs the policies by the module that its directory
has: libmizzen.so, else mizzen.wasm, else libmizzen-golang.so (which wants a contrib Envoy). --alone takes others away that an earlier run may have left there;
a proxy that runs one of those starts anew some seconds later.`,
		Example: `  mizzen module copy --to /var/lib/mizzen
  mizzen module copy --from build/libmizzen.so --to /tmp/modules`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := copyFile(from, to); err != nil || !alone {
				return err
			}
			return removeOthers(from, to)
		},
	}
	c.Flags().StringVar(&from, "from", "/mizzen/libmizzen.so", "`FILE` to copy")
	c.Flags().StringVar(&to, "to", "", "`DIR` to copy it into; it is made if it is not there")
	c.Flags().BoolVar(&alone, "alone", false, "take other modules of the policies away from there")
	_ = c.MarkFlagRequired("to")
	cmd.AddCommand(c)
	return cmd
}

// copyFile copies a file into a directory under its own name. Whoever looks finds the old one or the new one, whole: an Envoy may have the
// old one mapped.
func copyFile(from, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copy module: %w", err)
	}
	defer in.Close()
	return wholefile.Write(filepath.Join(dir, filepath.Base(from)), 0o755, in)
}

// removeOthers takes the modules away that are not of this name. A proxy that runs one has it in memory: see agent.Run.
func removeOthers(from, dir string) error {
	for _, name := range []string{agent.DynamicModule, agent.WasmModule, agent.GolangLibrary} {
		if name == filepath.Base(from) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("take other modules away: %w", err)
		}
	}
	return nil
}
