// Command injector measures the webhook: admissions per second and latency for a typical pod over https, as the API server asks, first at
// a given rate, then as fast as it answers; and its memory. The injector runs in a process of its own.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

func main() {
	bin := flag.String("bin", "bin/mizzen", "the `FILE` of mizzen")
	rate := flag.Int("rate", 200, "admissions per second of the first run")
	clients := flag.Int("clients", 8, "requests at once of the second run")
	duration := flag.Duration("duration", 10*time.Second, "of each run")
	profiles := flag.String("profiles", "", "`DIR` that gets heap.pprof of the start and profile.pprof, CPU, of the first run, for go tool pprof")
	flag.Parse()
	if err := run(*bin, *rate, *clients, *duration, *profiles); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(bin string, rate, clients int, duration time.Duration, profiles string) error {
	dir, err := os.MkdirTemp("", "bench-injector-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := start(bin, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	body, err := review()
	if err != nil {
		return err
	}
	before, _ := s.memory()
	if err := s.profile(profiles, "heap", 0); err != nil {
		return err
	}
	if _, err := s.load(body, 0, 2, time.Second); err != nil { // both sides warm up
		return err
	}
	idle, _ := s.memory()
	profiled := make(chan error, 1)
	go func() { profiled <- s.profile(profiles, "profile", duration) }()
	steady, err := s.load(body, rate, 0, duration)
	if err := errors.Join(err, <-profiled); err != nil {
		return err
	}
	most, err := s.load(body, 0, clients, duration)
	if err != nil {
		return err
	}
	fmt.Printf("%d CPUs, a pod of two containers with probes, %d bytes asked, %d answered\n\n", runtime.NumCPU(), len(body), steady.size)
	fmt.Printf("%-22s %12s %10s %10s %10s %14s\n", "load", "answers/s", "p50", "p99", "worst", "CPU/answer")
	for _, x := range []struct {
		name string
		r    result
	}{{fmt.Sprintf("%d per second", rate), steady}, {fmt.Sprintf("%d at once", clients), most}} {
		fmt.Printf("%-22s %12.0f %10s %10s %10s %14s\n", x.name, x.r.perSecond(), x.r.at(0.50), x.r.at(0.99), x.r.at(1), x.r.cpu)
	}
	own, all := s.memory()
	fmt.Printf("\nmemory: %.1f MiB at start, %.1f warm, %.1f after the load; with the pages of the program %.1f\n\n", before, idle, own, all)
	fmt.Printf("figure injector-p99-at-%d %.3f ms\n", rate, ms(steady.at(0.99)))
	fmt.Printf("figure injector-p50-at-%d %.3f ms\n", rate, ms(steady.at(0.50)))
	fmt.Printf("figure injector-admissions %.0f 1/s\n", most.perSecond())
	fmt.Printf("figure injector-cpu-per-admission %.3f ms\n", ms(most.cpu))
	fmt.Printf("figure injector-memory %.1f MiB\n", own)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// server is the injector's process.
type server struct {
	cmd    *exec.Cmd
	url    string
	pages  string // of monitoring
	client *http.Client
}

// start runs it with a certificate of its own and no cluster.
func start(bin, dir string) (*server, error) {
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool, err := certificate(cert, key)
	if err != nil {
		return nil, err
	}
	values := filepath.Join(dir, "values.yaml")
	if err := os.WriteFile(values, []byte("mizzen: {nativeSidecars: \"true\"}\n"), 0o600); err != nil {
		return nil, err
	}
	ports, err := freePorts()
	if err != nil {
		return nil, err
	}
	// API servers ask the webhooks of Services by HTTP/1.1, and keep 25 connections; here there are no more.
	s := &server{url: "https://" + ports[0] + "/inject", pages: "http://" + ports[1], client: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}, MaxIdleConnsPerHost: 25, MaxConnsPerHost: 25,
	}}}
	return s, s.launch(bin, cert, key, values, ports)
}

// freePorts are two addresses that were free a moment ago.
func freePorts() (out [2]string, err error) {
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return out, err
		}
		defer l.Close() // after both are found: they are different ones
		out[i] = l.Addr().String()
	}
	return out, nil
}

func (s *server) launch(bin, cert, key, values string, ports [2]string) error {
	s.cmd = exec.Command(bin, "injector", "--addr", ports[0], "--http-addr", ports[1], "--tls-cert", cert, "--tls-key", key, "--valuesFile", values,
		"--drain", "0s", "--log-level", "warn")
	s.cmd.Stderr = os.Stderr
	return s.begin(s.pages + "/ready")
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(certFile, keyFile string) (*x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	if err := os.WriteFile(certFile, text, 0o600); err != nil {
		return nil, err
	}
	return pool, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600)
}

// ask sends one review; size is the answer's.
func (s *server) ask(ctx context.Context, body []byte) (size int, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	q.Header.Set("Content-Type", "application/json")
	answer, err := s.client.Do(q)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	var out struct{ Response struct{ Patch []byte } }
	if answer.StatusCode != http.StatusOK || json.Unmarshal(raw, &out) != nil || len(out.Response.Patch) == 0 {
		return 0, fmt.Errorf("the injector answers %d %s", answer.StatusCode, raw)
	}
	return len(raw), nil
}
