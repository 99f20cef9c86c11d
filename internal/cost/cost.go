// Package cost bounds what an input may cost. For tests only.
package cost

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Bounds of Within: what a few kilobytes of input may cost, on a slow machine too.
const (
	maxCPU   = 4 * time.Second
	maxBytes = 1 << 30
)

// Within runs f, which must not start goroutines that work for it, and fails the test if it takes more CPU time or allocates more
// memory than any input of a few kilobytes is worth. CPU time, unlike time, does not depend on what else the machine does.
func Within(t testing.TB, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := threadCPU(t)
	f()
	took := threadCPU(t) - begin
	runtime.ReadMemStats(&after)
	if took > maxCPU {
		t.Errorf("took %v of CPU time, more than %v", took, maxCPU)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > maxBytes {
		t.Errorf("allocated %d MiB, more than %d", n>>20, maxBytes>>20)
	}
}

// threadCPU is the CPU time of this thread so far.
func threadCPU(t testing.TB) time.Duration {
	t.Helper()
	const thread = 1 // RUSAGE_THREAD, which package syscall does not name
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
