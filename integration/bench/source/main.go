// Command source measures what reading a cluster costs a control plane, on a real API server: `make bench-source`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mizzen-mesh/mizzen/controlplane/istio"
	"github.com/mizzen-mesh/mizzen/controlplane/source/kube"
	"github.com/mizzen-mesh/mizzen/integration/kubetest"
)

func main() {
	sizes := flag.String("sizes", "1000,5000", "how many Services, with a Pod and an EndpointSlice each, ascending")
	flag.Parse()
	if err := bench(context.Background(), *sizes); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, sizes string) error {
	bin, err := kubetest.Binaries()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mizzen-bench-source-")
	if err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	defer os.RemoveAll(dir)
	c, err := kubetest.Launch(bin, dir, kubetest.Options{})
	if err != nil {
		return err
	}
	defer c.Stop()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	fmt.Println("| Services, Pods and EndpointSlices, each | until all is read | CPU | heap | per Service | one Pod changes |")
	fmt.Println("|---|---|---|---|---|---|")
	have := 0
	for _, s := range strings.Split(sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("read -sizes: %w", err)
		}
		if err := fill(ctx, config, have, n); err != nil {
			return err
		}
		have = n
		m, err := read(ctx, config, n)
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %v | %v | %.1f MB | %.1f kB | %v |\n", n, m.ready.Round(10*time.Millisecond), m.cpu.Round(10*time.Millisecond),
			float64(m.heap)/1e6, float64(m.heap)/1e3/float64(n), m.change.Round(time.Millisecond))
	}
	return nil
}

// fill makes the objects from number first on, up to n.
func fill(ctx context.Context, config *rest.Config, first, n int) error {
	fast := rest.CopyConfig(config)
	fast.QPS = -1
	client, err := kubernetes.NewForConfig(fast)
	if err != nil {
		return fmt.Errorf("make the client of the API server: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := first; i < n; i++ {
		g.Go(func() error { return makeOne(ctx, client, i) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("fill the cluster: %w", err)
	}
	return nil
}

const namespace = "default"

func podName(i int) string { return fmt.Sprintf("app-%05d-0", i) }

// makeOne makes a Service with one Pod behind it.
func makeOne(ctx context.Context, client kubernetes.Interface, i int) error {
	app, ip := fmt.Sprintf("app-%05d", i), fmt.Sprintf("10.%d.%d.%d", 100+i/60000, i/250%240, 1+i%250)
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"app": app, "version": "v1", "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "security.istio.io/tlsMode": "istio",
		}}
	}
	service := &corev1.Service{ObjectMeta: meta(app), Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "grpc", Port: 9090}},
	}}
	pod := &corev1.Pod{ObjectMeta: meta(podName(i)), Spec: corev1.PodSpec{NodeName: "node", ServiceAccountName: app, Containers: []corev1.Container{
		{Name: "app", Image: "app", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}, Env: []corev1.EnvVar{{Name: "MODE", Value: "production"}}},
		{Name: "istio-proxy", Image: "proxy", Args: []string{"proxy", "sidecar"}},
	}}}
	ready, port, name, core := true, int32(8080), "http", corev1.ProtocolTCP
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta(app), AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &core}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: podName(i)},
		}},
	}
	slice.Labels[discoveryv1.LabelServiceName] = app
	if _, err := client.CoreV1().Services(namespace).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	made, err := client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if _, err := client.CoreV1().Pods(namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return err
	}
	_, err = client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
	return err
}

// measured is what one reading came to.
type measured struct {
	ready, cpu time.Duration
	heap       int64         // bytes that it keeps
	change     time.Duration // from a request that changes one Pod until it is told
}

func read(ctx context.Context, config *rest.Config, n int) (m measured, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return m, fmt.Errorf("make the client of the API server: %w", err)
	}
	heap, cpu, began := heapNow(), cpuNow(), time.Now()
	told, done := make(chan istio.Set), make(chan error, 1)
	go func() {
		done <- kube.Watch(ctx, kube.Options{Config: config, Log: slog.New(slog.DiscardHandler)}, func(s istio.Set, _ istio.Diagnostics) {
			select {
			case told <- s:
			case <-ctx.Done():
			}
		})
	}()
	next := func() (istio.Set, error) {
		select {
		case s := <-told:
			return s, nil
		case err := <-done:
			return istio.Set{}, errors.Join(errors.New("the source has ended"), err)
		}
	}
	set, err := next()
	if err != nil {
		return m, err
	}
	m.ready, m.cpu = time.Since(began), cpuNow()-cpu
	if len(set.Pods) != n || len(set.Services) < n {
		return m, fmt.Errorf("read %d Pods and %d Services, want %d", len(set.Pods), len(set.Services), n)
	}
	m.heap = heapNow() - heap
	runtime.KeepAlive(set)
	began = time.Now()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"turn":"%d"}}}`, n)
	if _, err := client.CoreV1().Pods(namespace).Patch(ctx, podName(0), types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return m, fmt.Errorf("change a Pod: %w", err)
	}
	if _, err := next(); err != nil {
		return m, err
	}
	m.change = time.Since(began)
	cancel()
	return m, <-done
}

// heapNow is what is in use.
func heapNow() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// cpuNow is what this process has used.
func cpuNow() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // of another process alone
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
