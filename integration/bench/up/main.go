// Command up measures how long `mizzen up` takes from its start until every proxy of a mesh of 20 workloads has
// acknowledged its configuration. `make bench` runs it; it needs bin/mizzen, the module and an Envoy.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

const workload = `apiVersion: v1
kind: Service
metadata: {name: s%[1]d}
spec:
  selector: {app: s%[1]d}
  ports: [{name: http, port: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: s%[1]d}
spec:
  selector: {matchLabels: {app: s%[1]d}}
  template:
    metadata: {labels: {app: s%[1]d, version: v1}}
    spec: {containers: [{name: app, image: "example/s:v1", ports: [{containerPort: 8080}]}]}
---
`

const gateway = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: way-in}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: way-in}
spec:
  hosts: ["*"]
  gateways: [way-in]
  http: [{route: [{destination: {host: s0}}]}]
`

func main() {
	n := flag.Int("workloads", 20, "how many")
	rounds := flag.Int("rounds", 3, "runs; the median counts")
	bin := flag.String("mizzen", "bin/mizzen", "the program")
	flag.Parse()
	if err := run(*bin, *n, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "error: measure start:", err)
		os.Exit(1)
	}
}

func run(bin string, n, rounds int) error {
	dir, err := os.MkdirTemp("", "bench-up-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, workload, i)
	}
	file := filepath.Join(dir, "mesh.yaml")
	if err := os.WriteFile(file, []byte(b.String()+gateway), 0o600); err != nil {
		return err
	}
	var took []time.Duration
	for i := range rounds {
		// The command runs once every proxy has acknowledged; it notes the time.
		stamp := filepath.Join(dir, fmt.Sprintf("stamp-%d", i))
		start := time.Now()
		out, err := exec.Command(bin, "up", "-f", file, "--", "touch", stamp).CombinedOutput()
		if err != nil {
			return fmt.Errorf("run mizzen up: %w\n%s", err, out)
		}
		info, err := os.Stat(stamp)
		if err != nil {
			return err
		}
		took = append(took, info.ModTime().Sub(start))
	}
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	fmt.Printf("mizzen up, %d workloads and a gateway: from start to every proxy acknowledged, %d runs: %v\n", n, rounds, took)
	fmt.Printf("figure up-%d-workloads %.2f s\n", n, took[len(took)/2].Seconds())
	return nil
}
