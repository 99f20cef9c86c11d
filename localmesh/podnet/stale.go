package podnet

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/mizzen-mesh/mizzen/internal/netns"
)

// prefix begins the names of all namespaces; the process id of `mizzen up` follows.
const prefix = "mizzen-"

// mark says whose a namespace is: a process id may be another process's by now, but not with the same time of its start.
func mark(pid int) string { return fmt.Sprintf("# mizzen up %d %s\n", pid, started(pid)) }

// started is when a process began, in ticks since the machine did; "" if there is none.
func started(pid int) string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The program's name, in brackets, may hold anything.
	_, rest, _ := strings.Cut(string(raw[strings.LastIndexByte(string(raw), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// owner is the process id in a namespace's name; false: it is not ours.
func owner(name string) (pid int, ok bool) {
	number, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
	pid, err := strconv.Atoi(number)
	return pid, err == nil && strings.HasPrefix(name, prefix)
}

// removeStale removes the namespaces of meshes whose process has gone.
func removeStale(log *slog.Logger) error {
	names, err := netns.Names(prefix)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		pid, ok := owner(name)
		if !ok || pid == os.Getpid() && strings.HasPrefix(netns.Resolver(name), mark(pid)) {
			continue
		}
		resolver := netns.Resolver(name)
		if alive := started(pid) != ""; alive && (resolver == "" || strings.HasPrefix(resolver, mark(pid))) {
			continue
		}
		log.Warn("removing the network of a mesh that was killed", "namespace", name)
		errs = append(errs, netns.Delete(name))
	}
	return errors.Join(errs...)
}
