package agent

import (
	"bytes"

	"github.com/mizzen-mesh/mizzen/internal/wholefile"
)

// writeFile replaces a file in one step. Nobody else may read it.
func writeFile(name string, data []byte) error {
	return wholefile.Write(name, 0o600, bytes.NewReader(data))
}
