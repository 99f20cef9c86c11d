// Package harness builds the C harness of integration/golanghost/testdata/harness, which stands in for contrib Envoy's
// golang filter, and encodes what it reads.
package harness

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// Variant is one build of the harness.
type Variant struct {
	Name  string
	flags []string
	// Env is what its process needs.
	Env []string
}

// Plain is the harness without sanitizers.
func Plain() Variant { return Variant{Name: "plain", flags: []string{"-O2"}} }

// Address is the harness under the address and undefined-behaviour sanitizers.
func Address() Variant {
	return Variant{
		Name:  "address",
		flags: []string{"-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"},
		// Go's memory is no business of the leak checker's, and Go needs its own signal handlers.
		Env: []string{"ASAN_OPTIONS=detect_leaks=0:handle_segv=0:handle_sigbus=0:detect_stack_use_after_return=0"},
	}
}

// Thread is the harness under the thread sanitizer, which sees the harness, and what it shares with Go; not what Go
// shares with itself: a library built with Go's race detector cannot be loaded by dlopen (its runtime finds its address
// range taken).
func Thread() Variant {
	return Variant{Name: "thread", flags: []string{"-O1", "-g", "-fsanitize=thread"}, Env: []string{"TSAN_OPTIONS=halt_on_error=1"}}
}

// ErrSanitizer says that gcc lacks the sanitizer.
var ErrSanitizer = errors.New("gcc has no such sanitizer")

// built remembers the harnesses built by this process.
var built sync.Map

// Build compiles a variant with gcc, once in a process, and returns its path.
func Build(v Variant) (string, error) {
	once, _ := built.LoadOrStore(v.Name, sync.OnceValues(func() (string, error) { return compile(v) }))
	return once.(func() (string, error))()
}

func compile(v Variant) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", fmt.Errorf("no C harness: %w", err)
	}
	root := envoytest.Root()
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/envoyproxy/envoy")
	list.Dir = root
	dir, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find api.h of the contrib golang SDK: %w", err)
	}
	sources, err := filepath.Glob(filepath.Join(root, "integration/golanghost/testdata/harness/*.c"))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		return "", err
	}
	out := filepath.Join(root, "build", "golang-harness-"+v.Name)
	own := fmt.Sprintf("%s.%d", out, os.Getpid()) // packages are tested at the same time
	args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o", own,
		"-I" + filepath.Join(strings.TrimSpace(string(dir)), "contrib/golang/common/go/api"),
		"-I" + filepath.Join(root, "filters/host/golanghost"), filepath.Join(root, "filters/host/golanghost/memory.c")}, v.flags...)
	args = append(append(args, sources...), "-ldl", "-lpthread")
	msg, err := exec.Command(gcc, args...).CombinedOutput()
	if err != nil && strings.Contains(string(msg), "cannot find -l") || strings.Contains(string(msg), "libasan") || strings.Contains(string(msg), "libtsan") {
		return "", fmt.Errorf("%w: %s", ErrSanitizer, msg)
	}
	if err != nil {
		return "", fmt.Errorf("compile the C harness: %w\n%s", err, msg)
	}
	return out, os.Rename(own, out)
}

// Module compiles libgolanghost.so into build/, once in a process, and returns its path.
func Module() (string, error) { return module() }

var module = sync.OnceValues(func() (string, error) {
	root := envoytest.Root()
	so := filepath.Join(root, "build/libgolanghost.so")
	cmd := exec.Command(filepath.Join(root, "scripts/golanghost"), so)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build golanghost: %w\n%s", err, out)
	}
	return so, nil
})

// Config is the serialized Any of a StringValue that holds a configuration, as the command "config" wants it.
func Config(json string) string {
	value := field(1, []byte(json))
	wrapped := append(field(1, []byte("type.googleapis.com/google.protobuf.StringValue")), field(2, value)...)
	return hex.EncodeToString(wrapped)
}

// field is a protobuf field of bytes.
func field(number byte, value []byte) []byte {
	out := []byte{number<<3 | 2}
	for n := len(value); ; n >>= 7 {
		if n < 128 {
			return append(append(out, byte(n)), value...)
		}
		out = append(out, byte(n)|128)
	}
}

// Encode writes the words of a command: each is encoded but for the "=" between a name and its value.
func Encode(words ...string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		name, value, pair := strings.Cut(w, "=")
		encode(&b, name)
		if pair {
			b.WriteByte('=')
			encode(&b, value)
		}
	}
	return b.String()
}

func encode(b *strings.Builder, text string) {
	for _, c := range []byte(text) {
		if c <= ' ' || c == '%' || c == '=' || c >= 127 {
			fmt.Fprintf(b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
}
