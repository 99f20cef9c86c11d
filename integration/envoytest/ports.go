package envoytest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// Where free ports are looked for: below the ports that Linux gives to whoever asks for any (net.ipv4.ip_local_port_range), so that no
// connection takes one between its choice and its use, and above those that Envoy's, Istio's and Mizzen's documentation name.
const (
	firstPort = 20000
	lastPort  = 29999
)

var portValue = regexp.MustCompile(`(port_value"?:\s*)(100\d\d)\b`)

// Ports replaces the ports 10000-10099 in a configuration by free ones, and tells which by which.
func Ports(config string) (string, map[int]int, error) {
	ports := map[int]int{}
	var failed error
	out := portValue.ReplaceAllStringFunc(config, func(m string) string {
		sub := portValue.FindStringSubmatch(m)
		from, _ := strconv.Atoi(sub[2]) // the expression takes digits only
		if ports[from] == 0 {
			p, err := freePort()
			if err != nil {
				failed = err
			}
			ports[from] = p
		}
		return sub[1] + strconv.Itoa(ports[from])
	})
	return out, ports, failed
}

// FreePort returns a loopback TCP port that nothing listens on, and that is given to nobody else, here or in another process that asks
// this function, until this process ends.
func FreePort(t testing.TB) int {
	t.Helper()
	p, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// claims are the locked files of the ports that this process has: open, as the lock ends with the file.
var claims struct {
	sync.Mutex
	files []*os.File
}

func freePort() (int, error) {
	claims.Lock()
	defer claims.Unlock()
	dir := fmt.Sprintf("/tmp/mizzen-test-ports-%d", os.Getuid()) // whatever TMPDIR says: one place for all processes
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	begin := rand.IntN(lastPort - firstPort + 1)
	for i := range lastPort - firstPort + 1 {
		port := firstPort + (begin+i)%(lastPort-firstPort+1)
		f, err := claim(filepath.Join(dir, strconv.Itoa(port)))
		if err != nil {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
		if f == nil {
			continue
		}
		claims.files = append(claims.files, f) // also of one that is in use by others: it is not asked for again
		if unused(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: none of %d-%d is free", firstPort, lastPort)
}

// claim locks a file; nil if someone has it.
func claim(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		_ = f.Close()
		return nil, nil
	}
	return f, nil
}

// unused says whether nothing listens on a port, at any address.
func unused(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
