// Package textlog keeps what a process or a logger writes, for tests that read it meanwhile.
package textlog

import (
	"strings"
	"sync"
)

// Buffer is an io.Writer whose text may be read while others write. The zero value is empty and ready.
type Buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns everything written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
