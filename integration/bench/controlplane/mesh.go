package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// namespaces that services, rules and proxies are spread over.
const namespaces = 100

// input is the configuration on disk: a file for each service and each rule.
type input struct{ dir string }

func namespaceOf(i int) string { return "ns" + strconv.Itoa(i%namespaces) }

func hostOf(i int) string { return fmt.Sprintf("svc%d.example.com", i) }

// endpoint is one of a service's ten; last is the last byte of the tenth one's address, which a change moves.
func (in input) service(i, last int) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: svc%d, namespace: %s}\nspec:\n  hosts: [%s]\n", i, namespaceOf(i), hostOf(i))
	b.WriteString("  ports: [{number: 8080, name: http, protocol: HTTP}]\n  location: MESH_INTERNAL\n  resolution: STATIC\n  endpoints:\n")
	for e := range 10 {
		final := e + 1
		if e == 9 {
			final = last
		}
		fmt.Fprintf(&b, "  - {address: 10.%d.%d.%d, labels: {version: v%d}}\n", i/250%250, i%250, final, e%2+1)
	}
	return in.write(fmt.Sprintf("se-%d.yaml", i), b.Bytes())
}

// rule is the VirtualService of a service; timeout is what a change moves, in milliseconds.
func (in input) rule(i, timeout int) error {
	text := fmt.Sprintf("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: svc%d, namespace: %s}\nspec:\n  hosts: [%s]\n  http:\n  - route: [{destination: {host: %s}}]\n    timeout: %dms\n",
		i, namespaceOf(i), hostOf(i), hostOf(i), timeout)
	return in.write(fmt.Sprintf("vs-%d.yaml", i), []byte(text))
}

// write replaces a file at once, as editors and config sync do.
func (in input) write(name string, content []byte) error {
	tmp := filepath.Join(in.dir, "."+name)
	if err := os.WriteFile(tmp, content, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(in.dir, name))
}

// fill writes n services with their rules.
func (in input) fill(n int) error {
	for i := range n {
		if err := in.service(i, 10); err != nil {
			return err
		}
		if err := in.rule(i, 5000); err != nil {
			return err
		}
	}
	return nil
}
