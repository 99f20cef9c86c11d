// Command images builds the images of Mizzen for the cluster of `make test-cluster`, without Docker: what the Dockerfile's targets
// hold, with this machine's libraries in the place of the public bases, and two more, for the node's pause container and
// for clients. It writes one archive per image, as docker save does, and prints those that are new.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/mizzen-mesh/mizzen/integration/envoytest"
)

// tag of the images: `mizzen install --set tag=test`.
const tag = "test"

func main() {
	node := cmp.Or(os.Getenv("MIZZEN_NODE"), filepath.Join(envoytest.Root(), ".cache", "node"))
	dir := flag.String("o", filepath.Join(node, "images"), "`DIR` to write to; default: images in scripts/node's")
	flag.Parse()
	if err := build(context.Background(), *dir); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, dir string) error {
	bin := filepath.Join(filepath.Dir(dir), "programs")
	for _, d := range []string{dir, bin} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	programs := map[string]string{}
	for _, pkg := range []string{"cmd/mizzen", "cmd/agent", "integration/cluster/pause"} {
		file := filepath.Join(bin, filepath.Base(pkg))
		if err := compile(ctx, pkg, file); err != nil {
			return err
		}
		programs[filepath.Base(pkg)] = file
	}
	programs["wasm"] = filepath.Join(bin, "mizzen.wasm")
	if err := compile(ctx, "wasm/cmd/mizzen", programs["wasm"], "GOOS=wasip1", "GOARCH=wasm"); err != nil {
		return err
	}
	all, err := images(programs)
	if err != nil {
		return err
	}
	for _, i := range all {
		file, written, err := i.archive(dir)
		if err != nil {
			return err
		}
		if written {
			fmt.Println(file)
		}
	}
	return nil
}

// compile builds a static program of this module; for WebAssembly, a library as Envoy loads it.
func compile(ctx context.Context, pkg, file string, target ...string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file}
	if len(target) > 0 {
		args = append(args, "-buildmode=c-shared")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+pkg)...)
	cmd.Dir = envoytest.Root()
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), target...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", pkg, err)
	}
	return nil
}

// images are all that the cluster needs. They are named as the chart names them.
func images(programs map[string]string) ([]image, error) {
	envoy, err := envoytest.Binary()
	if err != nil {
		return nil, err
	}
	module := os.Getenv("MIZZEN_MODULE")
	if module == "" {
		if module, err = envoytest.Build("filters/cmd/mizzen", "mizzen"); err != nil {
			return nil, err
		}
	}
	base, err := proxyBase(envoy)
	if err != nil {
		return nil, err
	}
	client, err := tools("sh", "curl", "cat", "sleep")
	if err != nil {
		return nil, err
	}
	one := func(at, file string) layer { l := system(); l.file(at, file, 0o755); return l }
	agent := layer{}
	agent.file("/usr/local/bin/mizzen", programs["agent"], 0o755)
	shared := one("/usr/local/bin/mizzen", programs["agent"])
	shared.file("/mizzen/libmizzen.so", module, 0o644)
	assembly := one("/usr/local/bin/mizzen", programs["agent"])
	assembly.file("/mizzen/mizzen.wasm", programs["wasm"], 0o644)
	run, unprivileged := []string{"/usr/local/bin/mizzen"}, "1337:1337"
	return []image{
		{name: "mizzen/controlplane:" + tag, layers: []layer{one("/usr/local/bin/mizzen", programs["mizzen"])}, entrypoint: run, user: unprivileged},
		{name: "mizzen/proxy:" + tag, layers: []layer{base, agent}, entrypoint: run},
		{name: "mizzen/module:" + tag, layers: []layer{shared}, entrypoint: run, user: unprivileged},
		{name: "mizzen/wasm:" + tag, layers: []layer{assembly}, entrypoint: run, user: unprivileged},
		{name: "mizzen/app:" + tag, layers: []layer{one("/usr/local/bin/mizzen", programs["agent"])}, entrypoint: []string{"/usr/local/bin/mizzen", "standin"}, user: "65532:65532"},
		{name: "mizzen/client:" + tag, layers: []layer{client}, entrypoint: []string{"/bin/sh"}, user: "65532:65532"},
		{name: "mizzen/pause:" + tag, layers: []layer{one("/pause", programs["pause"])}, entrypoint: []string{"/pause"}, user: "65535:65535"},
	}, nil
}

// system is what every image has: users, names, and a place for temporary files.
func system() layer {
	l := layer{}
	l.write("/etc/passwd", "root:x:0:0:root:/:/bin/sh\nistio-proxy:x:1337:1337::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n")
	l.write("/etc/group", "root:x:0:\nistio-proxy:x:1337:\nnogroup:x:65534:\n")
	l.write("/etc/nsswitch.conf", "hosts: files dns\n")
	l.dir("/tmp", os.ModeSticky|0o777)
	if bundle := "/etc/ssl/certs/ca-certificates.crt"; exists(bundle) {
		l.file(bundle, bundle, 0o644)
	}
	return l
}

// tools is a system with the machine's programs of these names.
func tools(names ...string) (layer, error) {
	l := system()
	for _, name := range names {
		if err := l.program(name); err != nil {
			return nil, err
		}
	}
	l["/bin/sh"] = entry{link: "/usr/bin/sh"}
	return l, nil
}

// proxyBase is what envoyproxy/envoy gives the proxy's image, and the tools of interception.
func proxyBase(envoy string) (layer, error) {
	l, err := tools("sh", "iptables", "iptables-save", "iptables-restore", "iptables-legacy", "iptables-legacy-save", "iptables-legacy-restore",
		"iptables-nft", "iptables-nft-save", "iptables-nft-restore", "ip6tables", "ip6tables-save", "ip6tables-restore", "ip6tables-legacy", "ip6tables-legacy-save",
		"ip6tables-legacy-restore", "ip6tables-nft", "ip6tables-nft-save", "ip6tables-nft-restore", "nft")
	if err != nil {
		return nil, err
	}
	extensions, err := filepath.Glob("/usr/lib/*/xtables/*.so") // of iptables' matches and targets, loaded by name
	if err != nil {
		return nil, err
	}
	for _, so := range slices.Sorted(slices.Values(extensions)) {
		l.file(so, so, 0o644)
	}
	l.file("/usr/local/bin/envoy", envoy, 0o755)
	return l, l.libraries(envoy)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
